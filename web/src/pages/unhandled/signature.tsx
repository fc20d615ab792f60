// A masked message: what varies is marked as such.

import { Fragment } from "react";
import { visible } from "../event/text";

const MASK = /(<(?:n|ip|mac|hex|uuid|time|q)>)/;
const WORDS: Record<string, string> = { n: "number", ip: "IP address", mac: "MAC address", hex: "hexadecimal number", uuid: "UUID", time: "time", q: "quoted text" };

export function Signature({ masked }: { masked: string }) {
  return (
    <bdi className="mono">
      {masked.split(MASK).map((part, index) => {
        const word = index % 2 === 1 ? WORDS[part.slice(1, -1)] : undefined;
        return (
          // The parts of one text never change places.
          // oxlint-disable-next-line react/no-array-index-key
          <Fragment key={index}>
            {word ? (
              <span className="masked" title={`Any ${word}`}>
                {part.slice(1, -1)}
              </span>
            ) : (
              visible(part)
            )}
          </Fragment>
        );
      })}
    </bdi>
  );
}
