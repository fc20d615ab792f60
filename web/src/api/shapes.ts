// Shapes of the API that its description does not have yet.

export interface Attention {
  severity: "critical" | "warning" | "info";
  code: string;
  title: string;
  detail: string;
  since: string | null;
  page: string;
}

export interface Status {
  version: string;
  engine: string;
  at: string;
  complete: boolean;
  error: string | null;
  attention: Attention[];
}

export interface LiveEvent {
  event_id: string;
  received_at: string;
  hostname: string;
  message: string;
  severity?: number;
  source?: string;
  environment: string;
  rule_id?: number;
  handling: string;
  team?: string;
}
