// A real MUTT with real traffic, and a real browser that notes everything a page must not do.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const root = fileURLToPath(new URL("../../", import.meta.url));
// Not MUTT_…: MUTT refuses settings that it does not know.
const mutt = process.env.E2E_MUTT ?? join(root, "target/debug/mutt");
const muttdev = process.env.E2E_MUTTDEV ?? join(root, "target/debug/muttdev");

/** How long anything may take before a test gives up; conditions end waits, not this. */
export const PATIENCE = 60_000;
export const ENGINES = (process.env.E2E_ENGINES ?? "embedded,distributed").split(",");
export const shots = fileURLToPath(new URL("../screenshots/", import.meta.url));

/** Waits until `probe` gives something true. */
export async function until(what, probe, patience = PATIENCE) {
  const end = Date.now() + patience;
  for (;;) {
    const got = await probe();
    if (got) return got;
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** The embedded engine with everyday traffic, sample rules and a pretend Moogsoft. */
async function embedded() {
  const dir = mkdtempSync(join(tmpdir(), "mutt-e2e-"));
  const base = 20_000 + Math.floor(Math.random() * 20_000);
  const child = spawn(mutt, ["demo", "--scenario", "calm", "--rate", "40", "--keep", dir, "--port-base", String(base)], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (text += chunk));
  const find = (pattern) => until(`${pattern} of mutt demo`, () => pattern.exec(text)?.[1] ?? (child.exitCode === null ? null : assert.fail(text)));
  const port = Number(await find(/Syslog\s+udp\+tcp 127\.0\.0\.1:(\d+)/));
  return {
    url: new URL(await find(/(http:\/\/127\.0\.0\.1:\d+)\/api\/v2/)).origin,
    key: readFileSync(join(dir, "webui_api_key"), "utf8").trim(),
    ingest: await find(/(http:\/\/127\.0\.0\.1:\d+\/ingest)/),
    ingestKey: readFileSync(join(dir, "ingest_api_key"), "utf8").trim(),
    mock: new URL(await find(/(http:\/\/127\.0\.0\.1:\d+)\/mock\/stats/)).origin,
    syslog: port,
    login: () => /(http:\S+#\/login\/\S+)/.exec(text)?.[1],
    signal: (name) => child.kill(name),
    async stop() {
      child.kill("SIGTERM");
      await until("the end of mutt demo", () => child.exitCode !== null || child.signalCode !== null);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Redis, PostgreSQL and every role as a process of its own. */
async function distributed() {
  const dir = mkdtempSync(join(tmpdir(), "mutt-e2e-"));
  const down = () => {
    execFileSync(muttdev, ["down", "--wipe", "--dir", dir], { cwd: root, stdio: "ignore" });
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    execFileSync(muttdev, ["up", "--dir", dir], { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
  } catch (error) {
    down();
    throw error;
  }
  const settings = Object.fromEntries(
    readFileSync(join(dir, "mutt.env"), "utf8")
      .split("\n")
      .flatMap((line) => {
        const found = /^(?:export |# )(\w+)='(.*)'$/.exec(line);
        return found ? [[found[1], found[2]]] : [];
      }),
  );
  const syslog = Number(settings.SYSLOG_UDP_ADDR);
  const world = {
    url: `http://127.0.0.1:${settings.SERVER_PORT_WEBUI}`,
    key: settings.WEBUI_API_KEY,
    ingest: `http://127.0.0.1:${settings.SERVER_PORT_INGESTOR}/ingest`,
    ingestKey: settings.INGEST_API_KEY,
    mock: new URL(settings.MOOG_WEBHOOK_URL).origin,
    syslog,
    login: () => undefined,
  };
  await call(world, "POST", "/rules", { match_string: "%LINK-3-UPDOWN", prod_handling: "Page_and_ticket", dev_handling: "Log_only", team_assignment: "NetOps", priority: 10 });
  const end = new AbortController();
  const traffic = (async () => {
    for (let n = 0; !end.signal.aborted; n++) {
      await post(world, everyday(n)).catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  })();
  world.stop = async () => {
    end.abort();
    await traffic;
    down();
  };
  return world;
}

function everyday(n) {
  return Array.from({ length: 10 }, (_, i) => ({
    hostname: `ams-core-sw${(n + i) % 7}`,
    message: i % 3 === 0 ? `%LINK-3-UPDOWN: Interface Gi0/${n % 48}, changed state to down` : `%SYS-5-CONFIG_I: Configured from console by user${i}`,
    syslog_severity: i % 3 === 0 ? 3 : 5,
  }));
}

export async function start(engine) {
  return engine === "embedded" ? embedded() : distributed();
}

/** A call to the API, past the UI. */
export async function call(world, method, path, body) {
  const response = await fetch(`${world.url}/api/v2${path}`, {
    method,
    headers: { "X-API-KEY": world.key, ...(body ? { "Content-Type": "application/json" } : {}) },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  const text = await response.text();
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`);
  return text ? JSON.parse(text) : null;
}

/** Events by HTTP, past syslog's limits of what a message may contain. */
export async function post(world, events) {
  const response = await fetch(world.ingest, {
    method: "POST",
    headers: { "X-API-KEY": world.ingestKey, "Content-Type": "application/json" },
    body: JSON.stringify(events),
  });
  assert.ok(response.ok, `ingest: ${response.status} ${await response.text()}`);
}

/** What the pretend Moogsoft answers from now on; without a fault it takes everything again. */
export async function sink(world, fault) {
  const response = await fetch(`${world.mock}/mock/faults`, fault ? { method: "POST", body: JSON.stringify(fault) } : { method: "DELETE" });
  assert.ok(response.ok, `mock: ${response.status} ${await response.text()}`);
}

export async function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      ...(process.getuid() === 0 ? ["--no-sandbox"] : []),
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/** A page in a context of its own; `faults` is what it did that it must not do. */
export async function open(browser, world, { theme = "light", width = 1280, height = 900, signedIn = true, key = world.key } = {}) {
  const context = await browser.newContext({
    baseURL: world.url,
    viewport: { width, height },
    colorScheme: theme,
    reducedMotion: "reduce",
    permissions: ["clipboard-read", "clipboard-write"],
  });
  context.setDefaultTimeout(PATIENCE);
  const faults = [];
  await context.exposeFunction("noteViolation", (text) => faults.push(`CSP: ${text}`));
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      window.noteViolation(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`);
    });
  });
  const page = await context.newPage();
  page.on("pageerror", (error) => faults.push(`page error: ${error.message}`));
  page.on("console", (message) => {
    // A refused request is part of many tests, and the browser reports each.
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) faults.push(`console: ${message.text()}`);
  });
  context.on("request", (request) => {
    const url = new URL(request.url());
    if (url.protocol.startsWith("http") && url.origin !== world.url) faults.push(`asked another host: ${url}`);
  });
  if (signedIn) {
    const response = await context.request.post("/api/v2/session", { data: { key }, headers: { "Sec-Fetch-Site": "same-origin" } });
    assert.ok(response.ok(), `sign in: ${response.status()}`);
  }
  return { context, page, faults };
}

const axe = readFileSync(fileURLToPath(import.meta.resolve("axe-core/axe.min.js")), "utf8");

/** What axe finds against WCAG 2.2 AA, in words. */
export async function axeFaults(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"] }));
  return violations.flatMap((violation) =>
    violation.nodes.slice(0, 3).map((node) => `axe ${violation.id} (${violation.impact}): ${node.target.join(" ")}: ${node.failureSummary?.split("\n")[1]?.trim()}`),
  );
}

export async function screenshot(page, name) {
  mkdirSync(shots, { recursive: true });
  await page.screenshot({ path: join(shots, `${name}.png`) });
}
