// One stream for the whole browser: many tabs stay usable over HTTP/1.1, and say so when what they
// show is old.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, open, post, start } from "./support.mjs";

let world, browser;
before(async () => {
  [world, browser] = await Promise.all([start("embedded"), launch()]);
});
after(async () => {
  await browser?.close();
  await world?.stop();
});

test("nine tabs share one stream and stay usable", async () => {
  const { context, page, faults } = await open(browser, world);
  const pages = [page];
  while (pages.length < 9) pages.push(await context.newPage());
  for (const each of pages) {
    await each.goto("/tail");
    await each.getByRole("button", { name: /Live/ }).waitFor();
  }
  // Over HTTP/1.1 a seventh stream would hold this request up for ever.
  const answer = await pages[8].evaluate(async () => (await fetch("/api/v2/version")).status);
  assert.equal(answer, 200);
  await post(world, [{ hostname: "nine-tabs", message: "seen by every tab" }]);
  for (const each of pages) await each.getByText("seen by every tab").first().waitFor();
  assert.deepEqual(faults, []);
  await context.close();
});

test("what is old says so, and comes back by itself", async () => {
  const { context, page } = await open(browser, world);
  await page.goto("/");
  await page.getByRole("button", { name: /^Live/ }).waitFor();
  world.signal("SIGSTOP");
  try {
    await page.getByRole("button", { name: /^Stale for/ }).waitFor();
  } finally {
    world.signal("SIGCONT");
  }
  await page.getByRole("button", { name: /^Live/ }).waitFor();
  await context.close();
});

test("without SharedWorker each tab has its own stream", async () => {
  const { context, page, faults } = await open(browser, world);
  await context.addInitScript(() => {
    delete globalThis.SharedWorker;
  });
  await page.goto("/tail");
  await page.getByRole("button", { name: /^Live/ }).waitFor();
  await post(world, [{ hostname: "no-worker", message: "seen without a worker" }]);
  await page.getByText("seen without a worker").first().waitFor();
  assert.deepEqual(faults, []);
  await context.close();
});
