// Dead letters: what failed for good, in groups, then entry by entry; replay and discard as jobs.

import { useQuery } from "@tanstack/react-query";
import { jobs, queues, type Job } from "../api/delivery";
import { ApiCall } from "../kit/code";
import { Chip } from "../kit/marks";
import { Page } from "../kit/page";
import { Answer } from "../kit/query";
import { Tabs } from "../kit/tabs";
import { useUrlState } from "../kit/url";
import { usePaused } from "../pause";
import { Entries } from "./dlq/entries";
import { Groups } from "./dlq/groups";
import { Jobs, JobStrip } from "./dlq/jobs";
import "../styles/dlq.css";

const DEFAULTS = { tab: "waiting", queue: "", reason: "", status: "", hostname: "", rule_id: "", text: "", since: "", until: "", entry: "", job: "" };

export default function DeadLetters() {
  const [url, set] = useUrlState(DEFAULTS);
  const paused = usePaused();
  const query = useQuery({ queryKey: ["dlq"], queryFn: queues, refetchInterval: paused ? false : 10_000 });
  const running = useQuery({ queryKey: ["jobs"], queryFn: jobs, retry: false }).data?.jobs.filter((job) => job.state === "running").length ?? 0;
  const onJob = (job: Job) => set({ job: job.id });
  return (
    <Page title="Dead letters" about="What could not be read, decided or delivered. It stays here until it is replayed or discarded.">
      <Tabs
        label="Dead letters"
        chosen={url.tab}
        tabs={[
          { id: "waiting", label: "Waiting" },
          { id: "jobs", label: <>Jobs {running > 0 && <Chip tone="info">{running} running</Chip>}</> },
        ]}
      />
      {url.tab === "jobs" ? (
        <Jobs open={url.job} onOpen={(job) => set({ job }, { push: job !== "" })} />
      ) : (
        <>
          {url.job && <JobStrip key={url.job} id={url.job} onClose={() => set({ job: "" })} />}
          {url.queue ? (
            <Entries queue={query.data?.queues.find((queue) => queue.queue === url.queue)} url={url} set={set} onJob={onJob} />
          ) : (
            <>
              <Answer query={query}>{(data) => <Groups queues={data.queues} />}</Answer>
              <ApiCall path="/api/v2/dlq" />
            </>
          )}
        </>
      )}
    </Page>
  );
}
