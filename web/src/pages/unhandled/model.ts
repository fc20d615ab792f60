// What no rule knows, as the server tells it; a server may tell less.

import { useQuery } from "@tanstack/react-query";
import { api, ApiError, ok } from "../../api/client";
import { usePaused } from "../../pause";
import type { Figure } from "../rule/shapes";
import { stablePartOf } from "../rule/stable";

export interface SignatureView {
  signature: string;
  masked: string;
  sample: string;
  count: number;
  hosts: string[];
  suggestion?: string | null;
}

export interface SignatureDetail extends SignatureView {
  last_hour: {
    events?: Figure | null;
    first?: string | null;
    last?: string | null;
    hosts: { hostname: string; sampled: number }[];
    examples: { event_id: string; received_at: string; hostname: string; message: string }[];
  };
}

/** What a rule for it would look for. */
export function suggestionFor(signature: SignatureView): string {
  return stablePartOf(signature.masked, signature.sample) || signature.suggestion || "";
}

export const LIMIT = 1_000;

export function useSignatures() {
  const paused = usePaused();
  return useQuery({
    queryKey: ["unhandled"],
    queryFn: async ({ signal }) => ((await ok(api.GET("/api/v2/unhandled", { params: { query: { limit: LIMIT } }, signal }))) as { signatures: SignatureView[] }).signatures,
    refetchInterval: paused ? false : 5_000,
  });
}

/** What the sample of the last hour has of one; null where the server does not keep one. */
export function useSignature(signature: string) {
  const paused = usePaused();
  return useQuery({
    queryKey: ["unhandled", signature],
    queryFn: async ({ signal }): Promise<SignatureDetail | null> => {
      const response = await fetch(`/api/v2/unhandled/${encodeURIComponent(signature)}`, { signal });
      if (response.status === 404) return null;
      if (!response.ok) throw await ApiError.from(response);
      return (await response.json()) as SignatureDetail;
    },
    refetchInterval: paused ? false : 10_000,
  });
}

export interface Policy {
  threshold: number;
  /** Seconds. */
  window: number;
  /** Whether events that no rule matched are kept one by one. */
  kept: boolean;
}

/** When unhandled events make a meta-alert. */
export function usePolicy() {
  return useQuery({
    queryKey: ["unhandled policy"],
    staleTime: 60_000,
    queryFn: async ({ signal }): Promise<Policy> => {
      const { config } = await ok(api.GET("/api/v2/config", { signal }));
      return {
        threshold: Number(config.unhandled_event_threshold),
        window: Number(config.unhandled_event_window),
        kept: config.audit_scope === "all",
      };
    },
  });
}
