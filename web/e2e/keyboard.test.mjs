// Everything by keyboard alone: no pointer is used in this file.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { call, launch, open, start, until } from "./support.mjs";

let world, browser;
before(async () => {
  [world, browser] = await Promise.all([start("embedded"), launch()]);
  await until("events on record", async () => (await call(world, "GET", "/audit-logs?limit=5")).logs.length === 5);
});
after(async () => {
  await browser?.close();
  await world?.stop();
});

/** Who has the focus, by what is read of it. */
const focused = (page) =>
  page.evaluate(() => {
    const element = document.activeElement;
    return `${element.tagName} ${element.getAttribute("aria-label") ?? element.labels?.[0]?.innerText ?? element.innerText ?? ""}`.trim().slice(0, 80);
  });

/** Presses Tab until this has the focus. */
async function tabTo(page, what) {
  const seen = [];
  for (let presses = 0; presses < 120; presses++) {
    await page.keyboard.press("Tab");
    seen.push(await focused(page));
    if (what.test(seen.at(-1))) return;
  }
  assert.fail(`Tab never came to ${what}; it came to\n${seen.join("\n")}`);
}

const keys = async (page, ...all) => {
  for (const key of all) await page.keyboard.press(key);
};
const heading = (page, name) => page.getByRole("heading", { level: 1, name }).waitFor();

async function overview() {
  const opened = await open(browser, world);
  await opened.page.goto("/");
  await heading(opened.page, "Overview");
  await opened.page.getByRole("button", { name: /^Live/ }).waitFor();
  return opened;
}

test("from the Overview to an event, its rule, and a change of it", async () => {
  const { context, page, faults } = await overview();
  await keys(page, "g", "e");
  await heading(page, "Events");
  assert.match(await focused(page), /^H1 Events/);
  const rows = page.getByRole("table").getByRole("row");
  await until("events in the table", async () => (await rows.count()) > 2);
  await keys(page, "j", "j", "k");
  const current = page.locator("tr[data-current=true]");
  assert.equal(await current.getAttribute("aria-rowindex"), "2");
  await keys(page, "Enter");
  const event = page.getByRole("dialog", { name: "Event" });
  await event.getByText("Decided", { exact: true }).first().waitFor();
  await keys(page, "Escape");
  await event.waitFor({ state: "detached" });
  assert.match(await focused(page), /^H1 Events/, "the focus returns to where it was");
  await keys(page, "Enter");
  const open = event.getByRole("link", { name: /^Open rule \d+/ });
  await open.waitFor();
  const id = Number(/\d+/.exec(await open.innerText())[0]);
  await tabTo(page, /Open rule/);
  await keys(page, "Enter");
  await heading(page, `Rule #${id}`);
  assert.match(await focused(page), /^H1 Rule/);

  const { version, priority } = await call(world, "GET", `/rules/${id}`);
  await tabTo(page, /^INPUT Priority/);
  await page.keyboard.press("ControlOrMeta+a");
  await page.keyboard.type(String(priority + 1));
  // The bench answers to the draft as it is now.
  const bench = page.getByText("Would match").locator("xpath=following-sibling::dd[1]");
  await until("the bench’s numbers", async () => /\d|too few/.test(await bench.innerText()));
  await page.keyboard.press("Control+Enter");
  await page.getByRole("status").filter({ hasText: `Rule #${id} is saved as version ${version + 1}` }).first().waitFor();
  assert.equal((await call(world, "GET", `/rules/${id}`)).priority, priority + 1);
  assert.deepEqual(faults, []);
  await context.close();
});

test("the first Tab leads past the frame", async () => {
  const { context, page } = await overview();
  await keys(page, "Tab");
  assert.match(await focused(page), /Skip to the content/);
  await keys(page, "Enter", "Tab");
  assert.ok(await page.evaluate(() => document.querySelector("main").contains(document.activeElement) && document.activeElement !== document.body), await focused(page));
  await context.close();
});

test("every page has its key, also where a list has keys of its own", async () => {
  const { context, page, faults } = await overview();
  await keys(page, "g", "r");
  await heading(page, "Rules");
  await until("rules in the table", async () => (await page.getByRole("table").getByRole("row").count()) > 2);
  await keys(page, "j");
  await page.locator("tr[data-current=true]").waitFor();
  // "k" and "e" alone mean the row.
  await keys(page, "g", "k");
  await heading(page, "API keys");
  await keys(page, "g", "r");
  await heading(page, "Rules");
  await until("rules in the table", async () => (await page.getByRole("table").getByRole("row").count()) > 2);
  await keys(page, "j");
  await page.locator("tr[data-current=true]").waitFor();
  await keys(page, "g", "e");
  await heading(page, "Events");
  for (const [key, name] of [["t", "Live tail"], ["u", "Unhandled"], ["h", "Hosts & teams"], ["v", "Delivery"], ["d", "Dead letters"], ["l", "SLO"], ["s", "Status"], ["c", "Configuration"], ["a", "Config audit"], ["i", "API"], ["o", "Overview"]]) {
    await keys(page, "g", key);
    await page.getByRole("heading", { level: 1, name, exact: true }).waitFor();
  }
  await keys(page, "/");
  assert.match(await focused(page), /^INPUT Search events/);
  await page.keyboard.type("pg o?");
  assert.equal(await page.getByRole("search").getByRole("searchbox").inputValue(), "pg o?");
  await keys(page, "Escape");
  assert.deepEqual(faults, []);
  await context.close();
});

test("p pauses, ? explains, and single letters can be switched off", async () => {
  const { context, page, faults } = await overview();
  await keys(page, "p");
  await page.getByRole("button", { name: "Paused" }).waitFor();
  await keys(page, "p");
  await page.getByRole("button", { name: "Live" }).waitFor();
  await keys(page, "?");
  const sheet = page.getByRole("dialog", { name: "Keys and preferences" });
  await sheet.waitFor();
  // Behind a dialog they are inert.
  await keys(page, "p");
  await tabTo(page, /Single letters are shortcuts/);
  await keys(page, "Space", "Escape");
  await sheet.waitFor({ state: "detached" });
  await keys(page, "p", "g", "e", "?", "/");
  await tabTo(page, /Keys and preferences/);
  await keys(page, "Enter");
  await sheet.waitFor();
  await heading(page, "Overview");
  await page.getByRole("button", { name: "Live", includeHidden: true }).waitFor({ state: "attached" });
  await tabTo(page, /Single letters are shortcuts/);
  await keys(page, "Space", "Escape");
  await sheet.waitFor({ state: "detached" });
  assert.match(await focused(page), /Keys and preferences/);
  await keys(page, "g", "e");
  await heading(page, "Events");
  assert.deepEqual(faults, []);
  await context.close();
});
