// Every page: its address, its name, its place in the navigation, its key after "g".

import { lazy, type ComponentType } from "react";

export interface Route {
  path: string;
  /** In the navigation; pages without one are reached from others. */
  name?: string;
  key?: string;
  group?: "Now" | "Decide" | "Deliver" | "Trust" | "Build";
  page: ComponentType<{ params: Record<string, string | undefined> }>;
}

/** A page is fetched when it is first opened. */
function page(load: () => Promise<{ default: ComponentType<{ params: Record<string, string | undefined> }> }>) {
  return lazy(load);
}

export const ROUTES: Route[] = [
  { path: "/", name: "Overview", key: "o", group: "Now", page: page(() => import("./pages/overview")) },
  { path: "/tail", name: "Live tail", key: "t", group: "Now", page: page(() => import("./pages/tail")) },
  { path: "/events", name: "Events", key: "e", group: "Now", page: page(() => import("./pages/events")) },
  { path: "/events/:id", page: page(() => import("./pages/event")) },
  { path: "/rules", name: "Rules", key: "r", group: "Decide", page: page(() => import("./pages/rules")) },
  { path: "/rules/:id", page: page(() => import("./pages/rule")) },
  { path: "/unhandled", name: "Unhandled", key: "u", group: "Decide", page: page(() => import("./pages/unhandled")) },
  { path: "/hosts", name: "Hosts & teams", key: "h", group: "Decide", page: page(() => import("./pages/hosts")) },
  { path: "/delivery", name: "Delivery", key: "v", group: "Deliver", page: page(() => import("./pages/delivery")) },
  { path: "/dlq", name: "Dead letters", key: "d", group: "Deliver", page: page(() => import("./pages/dlq")) },
  { path: "/slo", name: "SLO", key: "l", group: "Trust", page: page(() => import("./pages/slo")) },
  { path: "/status", name: "Status", key: "s", group: "Trust", page: page(() => import("./pages/status")) },
  { path: "/config", name: "Configuration", key: "c", group: "Trust", page: page(() => import("./pages/config")) },
  { path: "/config-audit", name: "Config audit", key: "a", group: "Trust", page: page(() => import("./pages/config-audit")) },
  { path: "/keys", name: "API keys", key: "k", group: "Trust", page: page(() => import("./pages/keys")) },
  { path: "/api-explorer", name: "API", key: "i", group: "Build", page: page(() => import("./pages/api")) },
];
