// One person's way through MUTT, on both engines: from signing in over a rule, an outage of the sink
// and its dead letters to signing out. Everything by the names that a screen reader tells.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { ENGINES, call, launch, open, post, screenshot, sink, start, until } from "./support.mjs";

const SIGNATURE = "%PLUMBING-4-LEAK";
const leak = (n, more = "") => ({ hostname: `boiler-${n % 3}`, message: `${SIGNATURE}: Pipe ${n} in cellar ${n % 7} loses ${n} ml a minute${more}`, syslog_severity: 4 });

for (const engine of ENGINES) {
  describe(`a day with MUTT (${engine})`, { concurrency: false }, () => {
    let world, browser, context, page, faults, rule;
    let failed = false;

    before(async () => {
      [world, browser] = await Promise.all([start(engine), launch()]);
      ({ context, page, faults } = await open(browser, world, { signedIn: false }));
    });
    after(async () => {
      await browser?.close();
      await world?.stop();
    });

    /** Each step begins where the one before ended. */
    const step = (name, run) =>
      test(name, async (t) => {
        if (failed) return t.skip("a step before it failed");
        failed = true;
        try {
          await run();
          failed = false;
        } finally {
          if (failed) await screenshot(page, `failed-${engine}`).catch(() => {});
        }
      });
    const button = (name) => page.getByRole("button", { name });
    const heading = (name) => page.getByRole("heading", { level: 1, name }).waitFor();
    const goTo = async (name) => {
      await page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name }).click();
      await heading(name);
    };
    const place = (name) => page.getByRole("region", { name, exact: true });
    const said = (text) => page.getByRole("status").filter({ hasText: text }).first().waitFor();

    step("signs in with a key", async () => {
      await page.goto("/");
      const field = page.getByLabel("API key");
      await field.fill("not-a-key");
      await button("Sign in").click();
      await page.getByRole("alert").waitFor();
      await field.fill(world.key);
      await button("Sign in").click();
      await heading("Overview");
      assert.equal(await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage })).then((kept) => kept.includes(world.key)), false);
    });

    if (engine === "embedded") {
      step("signs in by the link of the demo, once", async () => {
        const link = await until("the link in the demo’s greeting", () => world.login());
        const first = await open(browser, world, { signedIn: false });
        await first.page.goto(link);
        await first.page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
        assert.doesNotMatch(first.page.url(), /login/);
        const second = await open(browser, world, { signedIn: false });
        await second.page.goto(link);
        await second.page.getByLabel("API key").waitFor();
        assert.deepEqual([...first.faults, ...second.faults], []);
        await first.context.close();
        await second.context.close();
      });
    }

    step("sees numbers move", async () => {
      const receive = place("Receive");
      await until("events on the Overview", async () => /[1-9]\S*\s+events\/s/.test(await receive.innerText()));
      const before = await receive.innerText();
      await until("other numbers", async () => (await receive.innerText()) !== before);
    });

    step("makes a rule from what no rule knows", async () => {
      await post(world, Array.from({ length: 130 }, (_, n) => leak(n)));
      await goTo("Unhandled");
      await page.getByLabel("Text or host").fill("plumbing");
      const row = page.getByRole("row", { name: /PLUMBING/ });
      await row.getByText("over", { exact: true }).waitFor();
      await row.getByRole("link", { name: "Make a rule" }).click();
      await heading("New rule");
      await until("the suggested text", async () => (await page.getByLabel("Text", { exact: true }).inputValue()) === SIGNATURE);
      await page.getByText("your draft decides it").waitFor();
      await page.getByLabel("Team").fill("Plumbers");
      await page.getByLabel("Priority").fill("3");
      await page.getByLabel("Production handling").selectOption({ label: "Page and ticket" });
      await page.getByLabel("Reason (optional)").fill("leaks wake somebody");
      await page.getByRole("button", { name: "Save", exact: true }).click();
      await heading(/^Rule #\d+$/);
      rule = Number(/\/rules\/(\d+)/.exec(page.url())[1]);
      assert.equal((await call(world, "GET", `/rules/${rule}`)).match_string, SIGNATURE);
    });

    step("watches the rule match", async () => {
      // A pod takes a moment to learn of a rule: what comes until then is unhandled once more.
      await until("an event that the rule decided", async () => {
        await post(world, [leak(1000)]);
        return (await call(world, "GET", `/audit-logs?rule_id=${rule}&limit=1`)).logs.length > 0;
      });
      await page.getByText(/^[1-9][\d,]* match(es)? in the last hour/).waitFor();
      // The bench knows what came in the meantime.
      await page.getByRole("button", { name: "Audit rows" }).click();
      await page.getByRole("link", { name: /timeline of this event/ }).first().waitFor();
      await goTo("Rules");
      await page.getByRole("row", { name: new RegExp(SIGNATURE) }).getByRole("link", { name: `#${rule}` }).waitFor();
    });

    step("replays a dead letter and sees it delivered", async () => {
      await sink(world, { status: 404, contains: "cellar of no return" });
      await post(world, [leak(1, ", cellar of no return")]);
      await goTo("Dead letters");
      const group = page.getByRole("row", { name: /refused.*404/ });
      await group.waitFor();
      await sink(world, undefined);
      const entry = page.getByRole("row", { name: /no return/ });
      const gone = page.getByText(/^(No entry matches this filter|Nothing waits in )/);
      // Remediation may put it aside for good between two looks: then it is in the next queue.
      await until("the dead letter sent back", async () => {
        await goTo("Dead letters");
        await group.getByRole("link", { name: "refused" }).click();
        await entry.or(gone).waitFor();
        if (await gone.isVisible()) return false;
        await entry.getByRole("checkbox", { name: "Select this row" }).check();
        await button("Replay 1 selected…").click();
        const dialog = page.getByRole("dialog", { name: /^Replay from (moog|dead)$/ });
        await dialog.getByText("1 entry is meant.").waitFor();
        await dialog.getByLabel("Reason").fill("the sink knows cellars again");
        await dialog.getByRole("button", { name: "Replay 1 entry" }).click();
        await dialog.waitFor({ state: "detached" });
        await place("Job").getByText("done", { exact: true }).waitFor();
        return place("Job").getByText("1 of 1 sent back").isVisible();
      });
      await page.getByRole("search").getByLabel(/^Search events/).fill("no return");
      await page.keyboard.press("Enter");
      await heading("Events");
      await page.getByRole("row", { name: /no return/ }).first().click();
      const event = page.getByRole("dialog", { name: "Event" });
      await event.getByText("delivered", { exact: false }).filter({ hasText: /^Attempt \d+: delivered$/ }).waitFor();
      await event.getByText("Attempt 1: failed").waitFor();
      await page.keyboard.press("Escape");
      await event.waitFor({ state: "detached" });
    });

    const change = async (name, value, reason) => {
      await button(`Change… ${name}`).click();
      await page.getByRole("dialog").getByLabel(/^Value/).fill(value);
      await page.getByRole("dialog").getByRole("button", { name: "Review" }).click();
      const dialog = page.getByRole("dialog", { name: `Review the change of ${name}` });
      await dialog.getByLabel("Reason").fill(reason);
      await dialog.getByRole("button", { name: "Save" }).click();
      await said(`${name} is ${value}`);
      await dialog.waitFor({ state: "detached" });
    };

    step("changes settings", async () => {
      await goTo("Configuration");
      await page.getByLabel("Find a setting").fill("circuit_breaker");
      await change("circuit_breaker_threshold", "2", "the fire drill of today");
      await change("circuit_breaker_timeout", "5", "no long waits in the drill");
      await page.getByRole("row", { name: /circuit_breaker_threshold.*stored/ }).waitFor();
    });

    step("sees the circuit open, and close again", async () => {
      await sink(world, { status: 503 });
      await post(world, [leak(2), leak(3), leak(4)]);
      await goTo("Overview");
      await page.getByRole("list", { name: "What needs attention" }).getByRole("link", { name: /circuit/i }).first().waitFor();
      await place("Sink").getByText(/Open|Probing/).first().waitFor();
      await goTo("Delivery");
      await place(/^Sink /).getByText("open", { exact: true }).waitFor();
      await place(/^Sink /).getByText(/503/).first().waitFor();
      await sink(world, undefined);
      await place(/^Sink /).getByText("closed", { exact: true }).waitFor();
      await until("every alert delivered", async () => {
        const { logs } = await call(world, "GET", `/audit-logs?rule_id=${rule}&limit=3`);
        const roads = await Promise.all(logs.map((log) => call(world, "GET", `/events/${log.event_id}`)));
        return roads.every((road) => road.deliveries.some((attempt) => attempt.error === null));
      });
    });

    step("takes the change back, and finds both in the config audit", async () => {
      await goTo("Configuration");
      await page.getByLabel("Find a setting").fill("circuit_breaker_threshold");
      await button("History of circuit_breaker_threshold").click();
      await button(/^Bring back the static value…/).click();
      const dialog = page.getByRole("dialog", { name: "Review the change of circuit_breaker_threshold" });
      await dialog.getByLabel("Reason").fill("the drill is over");
      await dialog.getByRole("button", { name: "Save" }).click();
      await said("circuit_breaker_threshold is not stored any more");
      await dialog.waitFor({ state: "detached" });
      await page.keyboard.press("Escape");
      await goTo("Config audit");
      await page.getByLabel("Record").fill("circuit_breaker_threshold");
      await button("Filter").click();
      const drill = page.getByRole("row", { name: /circuit_breaker_threshold.*the fire drill of today/ });
      await drill.waitFor();
      await page.getByRole("row", { name: /circuit_breaker_threshold.*the drill is over/ }).waitFor();
      await drill.click();
      await page.getByRole("dialog").getByText("the fire drill of today").waitFor();
      await page.keyboard.press("Escape");
      await button("Verify the chain").click();
      await page.getByText("The chain is intact.").waitFor();
    });

    step("searches events and reads the road of one", async () => {
      await goTo("Events");
      await page.getByLabel("Text", { exact: true }).fill(SIGNATURE);
      await page.keyboard.press("Enter");
      await page.waitForURL(/text=/);
      await page.getByLabel("Rule", { exact: true }).selectOption(String(rule));
      await page.waitForURL(new RegExp(`rule_id=${rule}`));
      const rows = page.getByRole("row", { name: /PLUMBING/ });
      await rows.first().waitFor();
      await until("nothing but what was searched", async () => (await rows.count()) === (await page.getByRole("table").getByRole("row").count()) - 1);
      assert.match(page.url(), /text=/);
      await rows.first().click();
      const event = page.getByRole("dialog", { name: "Event" });
      for (const what of ["Received", "Decided"]) await event.getByText(what, { exact: true }).first().waitFor();
      await event.getByText(/^Attempt \d+: delivered$/).waitFor();
      await event.getByRole("link", { name: `Open rule ${rule}` }).waitFor();
      // The address is what is seen: whoever gets it sees the same.
      await page.reload();
      await event.getByText(/^Attempt \d+: delivered$/).waitFor();
      await event.getByRole("button", { name: "Close" }).click();
    });

    step("signs out, and nothing answers any more", async () => {
      await button("Sign out").click();
      await page.getByLabel("API key").waitFor();
      for (const path of ["/", "/rules", "/dlq"]) {
        await page.goto(path);
        await page.getByLabel("API key").waitFor();
        assert.equal(await page.getByRole("navigation").count(), 0);
      }
      for (const path of ["status", "rules", "audit-logs", "session", "stream?status=true"]) {
        assert.equal((await context.request.get(`/api/v2/${path}`)).status(), 401, path);
      }
    });

    step("without a fault of the pages", () => {
      assert.deepEqual(faults, []);
    });
  });
}
