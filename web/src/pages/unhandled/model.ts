// What no rule knows, as the server tells it; a server may tell less.

import { useQuery } from "@tanstack/react-query";
import { api, ApiError, ok, type Schemas } from "../../api/client";
import { usePaused } from "../../pause";
import { stablePartOf } from "../rule/stable";

export type SignatureView = Schemas["SignatureView"];
export type SignatureDetail = Schemas["SignatureDetail"];

/** What a rule for it would look for. */
export function suggestionFor(signature: SignatureView): string {
  return stablePartOf(signature.masked, signature.sample) || signature.suggestion || "";
}

export const LIMIT = 1_000;

export function useSignatures() {
  const paused = usePaused();
  return useQuery({
    queryKey: ["unhandled"],
    queryFn: async ({ signal }) => (await ok(api.GET("/api/v2/unhandled", { params: { query: { limit: LIMIT } }, signal }))).signatures,
    refetchInterval: paused ? false : 5_000,
  });
}

/** What the sample of the last hour has of one; null where it is known no more. */
export function useSignature(signature: string) {
  const paused = usePaused();
  return useQuery({
    queryKey: ["unhandled", signature],
    queryFn: async ({ signal }): Promise<SignatureDetail | null> => {
      try {
        return await ok(api.GET("/api/v2/unhandled/{signature}", { params: { path: { signature } }, signal }));
      } catch (error) {
        if (error instanceof ApiError && error.status === 404) return null;
        throw error;
      }
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
