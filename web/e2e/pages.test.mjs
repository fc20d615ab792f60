// Every page, in both themes, wide and narrow: no violation of the policy, no error, nobody else's
// host, nothing that axe finds, a picture.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { axeFaults, call, launch, open, post, screenshot, start, until } from "./support.mjs";

const PAGES = ["/", "/tail", "/events", "/rules", "/rules/new", "/unhandled", "/hosts", "/delivery", "/dlq", "/slo", "/status", "/config", "/config-audit", "/keys", "/api-explorer"];

describe("every page", { concurrency: false }, () => {
  let world, browser;

  before(async () => {
    [world, browser] = await Promise.all([start("embedded"), launch()]);
    await post(world, [{ hostname: "ams-core-sw1", message: "%LINK-3-UPDOWN: Interface Gi0/1, changed state to down", syslog_severity: 3 }]);
    // Pictures of pages at work.
    await until("events that flow", async () => {
      const { road } = await call(world, "GET", "/status");
      return road.received.per_second > 5 && road.decided.per_second > 5 && road.delivered.per_second > 0;
    });
  });
  after(async () => {
    await browser?.close();
    await world?.stop();
  });

  for (const theme of ["light", "dark"]) {
    test(`is accessible, safe and whole (${theme})`, async (t) => {
      const { page, context, faults } = await open(browser, world, { theme });
      const row = (await call(world, "GET", "/audit-logs?limit=1")).logs[0];
      for (const path of [...PAGES, `/events/${row.event_id}`, "/rules/1"]) {
        await t.test(path, async () => {
          faults.length = 0;
          await page.setViewportSize({ width: 1280, height: 900 });
          await page.goto(path);
          await page.getByRole("heading", { level: 1 }).waitFor();
          await until(`${path} to have loaded`, async () => (await page.locator(".loading").count()) === 0);
          const name = path.replaceAll("/", "_").replace(/^_$/, "_overview").replace(row.event_id, "one");
          const found = await axeFaults(page);
          await screenshot(page, `${theme}${name}`);
          await page.setViewportSize({ width: 390, height: 844 });
          // Charts are drawn anew for the new width.
          const fits = until(`${path} to fit a phone`, () => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth <= 1));
          await fits.finally(() => screenshot(page, `${theme}${name}-narrow`));
          assert.deepEqual([...faults, ...found], []);
        });
      }
      await context.close();
    });
  }
});
