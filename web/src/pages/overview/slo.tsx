// The objectives in a few numbers: availability against target, and how fast the budget burns.

import { Link } from "wouter";
import type { Status } from "../../api/shapes";
import { percent } from "../../kit/format";
import { Card } from "../../kit/page";
import { Burn, COMPONENTS, StateChip } from "../slo/parts";

export function SloSummary({ slo }: { slo: Status["slo"] }) {
  return (
    <Card title="Objectives" aside={<Link href="/slo">SLO</Link>}>
      {slo.length === 0 ? (
        <p className="quiet">No objectives are known at the moment.</p>
      ) : (
        <>
          <div className="scroll-x">
            <table className="simple slo-summary">
              <thead>
                <tr>
                  <th scope="col">Objective</th>
                  <th scope="col" className="num">
                    Now
                  </th>
                  <th scope="col" className="num" title="How fast the allowed failures are used up; 1 is just within the objective">
                    Burn 1 h
                  </th>
                  <th scope="col" className="num">
                    6 h
                  </th>
                  <th scope="col" className="num">
                    24 h
                  </th>
                </tr>
              </thead>
              <tbody>
                {slo.map((each) => (
                  <tr key={each.component}>
                    <th scope="row">
                      <Link href="/slo">{COMPONENTS[each.component]?.name ?? each.component}</Link>
                      <br />
                      <StateChip state={each.state} />
                    </th>
                    <td className="num">
                      {percent(each.availability)}
                      <br />
                      <span className="quiet">of {percent(each.target)}</span>
                    </td>
                    <Burn value={each.burn_1h} />
                    <Burn value={each.burn_6h} />
                    <Burn value={each.burn_24h} />
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
          <p className="quiet chart-note">Burn: how fast the allowed failures are used up. Up to 1 is within the target.</p>
        </>
      )}
    </Card>
  );
}
