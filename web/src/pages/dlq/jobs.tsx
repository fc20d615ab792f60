// Jobs on dead letters: progress while one runs, its result afterwards, and all of them as a list.

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import { Link } from "wouter";
import { abort, job as fetchJob, jobs, type Job } from "../../api/delivery";
import { useRefusal } from "../../api/session";
import { ApiCall } from "../../kit/code";
import { Dialog } from "../../kit/dialog";
import { ActButton } from "../../kit/field";
import { ago, count, plural, span } from "../../kit/format";
import { Chip, Meter } from "../../kit/marks";
import { Empty, Problem } from "../../kit/page";
import { Answer } from "../../kit/query";
import { Table } from "../../kit/table";
import { Ago, Time, useNow } from "../../kit/time";
import { toast, toastError } from "../../kit/toast";
import { link } from "../../kit/url";
import { usePaused } from "../../pause";
import { jobTone, jobWords, selectionWords } from "./words";

export function useJob(id: string) {
  const paused = usePaused();
  return useQuery({
    queryKey: ["jobs", id],
    queryFn: () => fetchJob(id),
    enabled: id !== "",
    refetchInterval: ({ state }) => (!paused && state.data?.state === "running" ? 1000 : false),
  });
}

function Abort({ job }: { job: Job }) {
  const refusal = useRefusal("operator");
  const client = useQueryClient();
  const run = async () => {
    try {
      await abort(job.id);
      toast("The job stops after the entry it is at. What it has done stays done.");
    } catch (error) {
      toastError(error);
    }
    void client.invalidateQueries({ queryKey: ["jobs"] });
  };
  return (
    <ActButton className="small" refusal={refusal} onClick={() => void run()}>
      Abort the job
    </ActButton>
  );
}

function result(job: Job): string {
  const verb = job.action === "replay" ? "sent back" : "discarded";
  const left = job.left ? `; ${count(job.left)} left alone (gone meanwhile, or not to be decided anew)` : "";
  const open = job.total - job.processed;
  const rest = job.state !== "running" && job.state !== "done" && open > 0 ? `; ${count(open)} not come to, still in the queue` : "";
  return `${count(job.moved)} of ${count(job.total)} ${verb}${left}${rest}`;
}

/** The job this page was just told about, with its progress; refreshes the lists when it ends. */
export function JobStrip({ id, onClose }: { id: string; onClose: () => void }) {
  const query = useJob(id);
  const client = useQueryClient();
  const ended = query.data !== undefined && query.data.state !== "running";
  useEffect(() => {
    if (!ended) return;
    void client.invalidateQueries({ queryKey: ["dlq"] });
    void client.invalidateQueries({ queryKey: ["jobs"], exact: true });
  }, [ended, client]);
  return (
    <section className="card dlq-job" aria-label="Job">
      <Answer query={query}>
        {(job) => (
          <>
            <div className="row">
              <Chip tone={jobTone(job.state)}>{job.state}</Chip>
              <b>
                {jobWords(job)} in {job.queue}
              </b>
              <span role="status">{result(job)}</span>
              <span className="row end dlq-job-acts">
                <Link href={link("/dlq", { tab: "jobs", job: job.id })}>Details</Link>
                {job.state === "running" ? (
                  <Abort job={job} />
                ) : (
                  <button type="button" className="button small" onClick={onClose}>
                    Dismiss
                  </button>
                )}
              </span>
            </div>
            {job.state === "running" && <Meter share={job.total ? job.processed / job.total : 0} label="Progress of the job" />}
            {job.error && <Problem error={new Error(job.error)} />}
          </>
        )}
      </Answer>
    </section>
  );
}

export function Jobs({ open, onOpen }: { open: string; onOpen: (id: string) => void }) {
  const paused = usePaused();
  const query = useQuery({
    queryKey: ["jobs"],
    queryFn: jobs,
    refetchInterval: ({ state }) => (paused ? false : state.data?.jobs.some((job) => job.state === "running") ? 1000 : 10_000),
  });
  return (
    <>
      <Answer query={query}>
        {(data) => (
          <div className="wide">
            <Table
              label="Jobs"
              rows={data.jobs}
              rowKey={(job) => job.id}
              onOpen={(job) => onOpen(job.id)}
              empty={
                <Empty title="No jobs" good>
                  <p>Nobody has replayed or discarded dead letters yet. Each replay and each discard is a job, listed here with its progress and its result.</p>
                </Empty>
              }
              columns={[
                { key: "began", label: "Began", width: "110px", cell: (job) => <Ago at={job.began_at} /> },
                {
                  key: "what",
                  label: "What",
                  width: "170px",
                  cell: (job) => (
                    <button type="button" className="linklike" onClick={() => onOpen(job.id)}>
                      {jobWords(job)}
                    </button>
                  ),
                },
                { key: "queue", label: "Queue", width: "80px", cell: (job) => job.queue },
                { key: "state", label: "State", width: "120px", cell: (job) => <Chip tone={jobTone(job.state)}>{job.state}</Chip> },
                { key: "done", label: "Done", width: "130px", number: true, cell: (job) => `${count(job.processed)} of ${count(job.total)}` },
                { key: "selection", label: "Selection", cell: (job) => <bdi title={selectionWords(job.selection)}>{selectionWords(job.selection)}</bdi> },
                { key: "by", label: "By", width: "140px", cell: (job) => <bdi>{job.by}</bdi> },
                { key: "reason", label: "Reason", cell: (job) => <bdi title={job.reason ?? undefined}>{job.reason ?? "–"}</bdi> },
              ]}
            />
          </div>
        )}
      </Answer>
      {open && <JobDrawer id={open} onClose={() => onOpen("")} />}
      <ApiCall path={open ? `/api/v2/jobs/${encodeURIComponent(open)}` : "/api/v2/jobs"} />
    </>
  );
}

function JobDrawer({ id, onClose }: { id: string; onClose: () => void }) {
  const query = useJob(id);
  const now = useNow();
  return (
    <Dialog title="Job" drawer onClose={onClose} foot={query.data?.state === "running" ? <Abort job={query.data} /> : undefined}>
      <Answer query={query}>
        {(job) => {
          const seconds = ago(job.began_at, job.ended_at ? new Date(job.ended_at).getTime() : now);
          return (
            <>
              <div className="row">
                <Chip tone={jobTone(job.state)}>{job.state}</Chip>
                <b>{jobWords(job)}</b>
                <span role="status">{result(job)}</span>
              </div>
              <Meter share={job.total ? job.processed / job.total : job.state === "done" ? 1 : 0} label="Progress of the job" />
              {job.error && <Problem error={new Error(job.error)} />}
              {job.state === "interrupted" && <p>The process that ran it ended. What it had not come to still lies in its queue; order it again to go on.</p>}
              <dl className="facts">
                <dt>Queue</dt>
                <dd>
                  <Link href={link("/dlq", { queue: job.queue })}>{job.queue}</Link>
                </dd>
                <dt>Selection</dt>
                <dd>{selectionWords(job.selection)}</dd>
                <dt>Rate</dt>
                <dd>{job.rate ? `${plural(job.rate, "entry", "entries")} per second` : "as fast as it goes"}</dd>
                <dt>By</dt>
                <dd>
                  <bdi>{job.by}</bdi>
                </dd>
                <dt>Reason</dt>
                <dd>
                  <bdi>{job.reason ?? "–"}</bdi>
                </dd>
                <dt>Began</dt>
                <dd>
                  <Time at={job.began_at} />
                </dd>
                <dt>Ended</dt>
                <dd>{job.ended_at ? <Time at={job.ended_at} /> : "not yet"}</dd>
                <dt>Took</dt>
                <dd className="num-time">{span(seconds)}</dd>
                {job.pod && (
                  <>
                    <dt>Pod</dt>
                    <dd>{job.pod}</dd>
                  </>
                )}
                {job.correlation_id && (
                  <>
                    <dt>Record</dt>
                    <dd>
                      <Link href={link("/config-audit", { correlation_id: job.correlation_id })}>In the config audit</Link>
                    </dd>
                  </>
                )}
              </dl>
            </>
          );
        }}
      </Answer>
    </Dialog>
  );
}
