// Asks the test bench as one types. An answer belongs to the request it answers: for any other
// there is none.

import { useCallback, useEffect, useState } from "react";
import { api, ok, type Schemas } from "../../api/client";
import { usePaused } from "../../pause";
import type { TestRequest, TestResult } from "./shapes";

/** So long nothing must be typed, in milliseconds. */
const DEBOUNCE = 150;
/** The last hour moves on: after so many milliseconds the same is asked again. */
const AGAIN = 15_000;

export interface Answer {
  result?: TestResult;
  error?: unknown;
  /** When it came; undefined while there is none for this request. */
  at?: number;
}

export function useBench(request: TestRequest | undefined): { answer: Answer; again: () => void } {
  const key = request ? JSON.stringify(request) : "";
  const [last, setLast] = useState<Answer & { key: string }>({ key: "" });
  const [asked, setAsked] = useState(0);
  const paused = usePaused();

  useEffect(() => {
    if (!key) return undefined;
    const controller = new AbortController();
    const timer = setTimeout(async () => {
      try {
        const body = JSON.parse(key) as Schemas["Test"];
        const result = await ok(api.POST("/api/v2/rules/test", { body, signal: controller.signal }));
        if (!controller.signal.aborted) setLast({ key, result, at: Date.now() });
      } catch (error) {
        if (!controller.signal.aborted) setLast({ key, error, at: Date.now() });
      }
    }, DEBOUNCE);
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [key, asked]);

  const again = useCallback(() => setAsked((asked) => asked + 1), []);
  useEffect(() => {
    if (paused || last.key !== key || last.at === undefined) return undefined;
    const timer = setInterval(() => !document.hidden && again(), AGAIN);
    return () => clearInterval(timer);
  }, [paused, last, key, again]);

  return { answer: last.key === key ? last : {}, again };
}
