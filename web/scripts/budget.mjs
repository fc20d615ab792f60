// What the UI costs, against its budgets.
//
// Always: the size of a first visit, Brotli: scripts at most 250 KiB in all and 150 KiB for the first
// page, styles at most 25 KiB, no fonts and no pictures but the icon.
//
// With MUTT_URL and MUTT_KEY of a running MUTT (release build, data in it) also how it feels: the
// Overview with its first data within 1 s, 10,000 audit rows scrolled without a lost frame, the live
// tail without a long task. Times hang on the machine: they are for comparing, and no test.

import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

const KIB = 1024;
const assets = new URL("../dist/assets", import.meta.url).pathname;
let over = false;

function tell(what, value, limit, unit) {
  over ||= value > limit;
  console.log(`${what.padEnd(34)} ${value.toFixed(1).padStart(9)} of ${String(limit).padStart(5)} ${unit}${value > limit ? "  OVER" : ""}`);
}

function sizes() {
  const html = readFileSync(new URL("../dist/index.html", import.meta.url), "utf8");
  const size = (name) => {
    const path = join(assets, name);
    try {
      return statSync(`${path}.br`).size;
    } catch {
      return statSync(path).size;
    }
  };
  const files = readdirSync(assets).filter((name) => !/\.(br|gz)$/.test(name));
  const sum = (names) => names.reduce((total, name) => total + size(name), 0) / KIB;
  const scripts = files.filter((name) => name.endsWith(".js"));
  const first = firstScripts(html, scripts);
  tell("all scripts", sum(scripts), 250, "KiB");
  tell("scripts of the first page", sum(first), 150, "KiB");
  tell("styles", sum(files.filter((name) => name.endsWith(".css"))), 25, "KiB");
  tell("fonts and pictures", sum(files.filter((name) => /\.(woff2?|ttf|png|jpe?g|gif|webp)$/.test(name))), 0, "KiB");
}

/** What the document, the Overview and the stream load, with what these load. */
function firstScripts(html, scripts) {
  const wanted = new Set(scripts.filter((name) => html.includes(name) || name.startsWith("overview-") || name.startsWith("stream.worker")));
  for (const name of wanted) {
    // Pages are imported later, by import(); what stands in an import statement comes along.
    const text = readFileSync(join(assets, name), "utf8");
    for (const [, other] of text.matchAll(/(?:from|import)\s*["']\.\/([^"']+\.js)["']/g)) if (scripts.includes(other)) wanted.add(other);
  }
  return [...wanted];
}

const middle = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
const share = (values, at) => values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * at))];

async function speed(url, key) {
  const { launch, open } = await import("../e2e/support.mjs");
  const world = { url, key };
  const browser = await launch();
  try {
    const visits = [];
    for (let visit = 0; visit < 5; visit++) {
      // Each with an empty cache, as a first visit has it.
      const { context, page } = await open(browser, world);
      await page.addInitScript(() => {
        const seen = () => {
          const main = document.querySelector("main");
          if (main?.querySelector("h1") && main.querySelector(".road-value")) window.interactive = performance.now();
          else requestAnimationFrame(seen);
        };
        requestAnimationFrame(seen);
      });
      await page.goto("/");
      await page.waitForFunction(() => window.interactive);
      visits.push(await page.evaluate(() => ({ interactive: window.interactive, paint: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? NaN })));
      await context.close();
    }
    tell("Overview: first paint", middle(visits.map((visit) => visit.paint)), 500, "ms");
    tell("Overview: heading and numbers", middle(visits.map((visit) => visit.interactive)), 1000, "ms");
    await scrolling(browser, open, world);
    await tail(browser, open, world);
  } finally {
    await browser.close();
  }
}

/** Down through the audit trail, a screen every few frames, as fast as rows come. */
async function scrolling(browser, open, world) {
  const { context, page } = await open(browser, world);
  await page.goto("/events?start=");
  await page.getByRole("row").nth(5).waitFor();
  const { frames, rows } = await page.evaluate(async () => {
    const scroller = document.querySelector(".table-wrap");
    const table = scroller.querySelector("table");
    const frames = [];
    const end = performance.now() + 60_000;
    let last = performance.now();
    let still = 0;
    while (performance.now() < end && still < 300) {
      await new Promise(requestAnimationFrame);
      const now = performance.now();
      frames.push(now - last);
      last = now;
      const before = scroller.scrollTop;
      if (before > 10_000 * 28) break;
      scroller.scrollTop += 120;
      still = scroller.scrollTop === before ? still + 1 : 0;
    }
    return { frames, rows: Number(table.getAttribute("aria-rowcount")) - 1 };
  });
  await context.close();
  tell(`${Math.min(rows, 10_000)} audit rows: frame, p95`, share(frames, 0.95), 34, "ms");
}

/** Ten seconds of whatever comes in. */
async function tail(browser, open, world) {
  const { context, page } = await open(browser, world);
  await page.goto("/tail");
  await page.getByRole("grid").waitFor();
  const found = await page.evaluate(async () => {
    const tasks = [];
    const observer = new PerformanceObserver((list) => tasks.push(...list.getEntries().map((entry) => entry.duration)));
    observer.observe({ entryTypes: ["longtask"] });
    await new Promise((resolve) => setTimeout(resolve, 10_000));
    observer.disconnect();
    return { tasks, rate: document.querySelector(".tail-rate")?.textContent };
  });
  await context.close();
  console.log(`Live tail: ${found.rate}`);
  tell("Live tail: longest task", Math.max(0, ...found.tasks), 100, "ms");
  tell("Live tail: long tasks in 10 s", found.tasks.length, 5, "");
}

sizes();
const { MUTT_URL: url, MUTT_KEY: key } = process.env;
if (url && key) await speed(url, key);
process.exit(over ? 1 : 0);
