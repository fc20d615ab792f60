// One stream for the whole browser: many tabs stay usable over HTTP/1.1, and say so when what they
// show is old.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, open, post, start, until } from "./support.mjs";

let world, browser;
before(async () => {
  [world, browser] = await Promise.all([start("embedded"), launch()]);
});
after(async () => {
  await browser?.close();
  await world?.stop();
});

/** Sends until it is seen: a filter takes a moment to reach the server, and nothing before it is shown. */
const arrives = (page, hostname, message) =>
  until(`"${message}" in the tail`, async () => {
    await post(world, [{ hostname, message }]);
    return (await page.getByText(message).count()) > 0;
  });

test("nine tabs share one stream and stay usable", async () => {
  const { context, page, faults } = await open(browser, world);
  const pages = [page];
  while (pages.length < 9) pages.push(await context.newPage());
  for (const each of pages) {
    await each.goto("/tail?hostname=nine-tabs");
    await each.getByRole("button", { name: /^Live/ }).waitFor();
  }
  // Over HTTP/1.1 a seventh stream would hold this request up for ever.
  const answer = await pages[8].evaluate(async () => (await fetch("/api/v2/version")).status);
  assert.equal(answer, 200);
  for (const each of pages) await arrives(each, "nine-tabs", "seen by every tab");
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
  await page.goto("/tail?hostname=no-worker");
  await arrives(page, "no-worker", "seen without a worker");
  assert.deepEqual(faults, []);
  await context.close();
});
