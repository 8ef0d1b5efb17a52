// Visits the status page as a person does, by Playwright, and examines it by axe-core. It reads a job
// from standard input, and writes its findings to standard output, both as JSON.
"use strict";

const fs = require("fs");
const path = require("path");
const { chromium } = require("playwright-core");
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const job = JSON.parse(fs.readFileSync(0, "utf8"));
const findings = [];
const find = (where, text) => findings.push(`${where}: ${text}`);

// watch notes everything that the browser complains about. expected are texts of complaints that a test causes.
function watch(page, where, expected = []) {
  page.on("console", (m) => {
    if (["error", "warning"].includes(m.type()) && !expected.some((e) => m.text().includes(e))) find(where, `console: ${m.text()}`);
  });
  page.on("pageerror", (e) => find(where, `error: ${e.message}`));
  page.on("request", (r) => {
    if (!r.url().startsWith("http://127.0.0.1:") && !r.url().startsWith("data:")) find(where, `asks for ${r.url()}`);
  });
}

async function examine(page, where) {
  await page.evaluate(axe);
  const result = await page.evaluate(() => axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  for (const v of result.violations)
    find(where, `axe: ${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 200) + " " + (n.any[0]?.message || "")).join(" | ")}`);
  const [wide, width] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  if (wide > width) find(where, `it is ${wide} pixels wide, and the window is ${width}`);
}

// looks visits a page in each size and each colour scheme, and without JavaScript.
async function looks(browser, { name, url }) {
  for (const width of [375, 1440])
    for (const colorScheme of ["light", "dark"]) {
      const where = `${name}, ${width}, ${colorScheme}`;
      const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme });
      const page = await context.newPage();
      watch(page, where, ["401"]);
      await page.goto(url);
      await examine(page, where);
      const log = page.locator("#log summary");
      if (await log.count()) {
        await log.click();
        await examine(page, where + ", with the log");
        await log.click();
      }
      await page.evaluate(() => scrollTo(0, 0));
      await page.screenshot({ path: path.join(job.out, `${name}-${width}-${colorScheme}.png`), fullPage: name !== "many" });
      await context.close();
    }
  if (name === "docs")
    for (const [file, width, height, colorScheme] of [["status-page", 1120, 1010, "light"], ["status-page-small", 375, 700, "dark"]]) {
      const context = await browser.newContext({ viewport: { width, height }, colorScheme });
      const page = await context.newPage();
      await page.goto(url);
      await page.screenshot({ path: path.join(job.out, file + ".png") }); // of docs/
      await context.close();
    }
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(url);
  if (await page.locator("#pause").isVisible()) find(name, "without JavaScript there is a button to pause");
  if (!(await page.locator("h1").isVisible())) find(name, "without JavaScript there is nothing");
  await context.close();
}

const steps = {
  // logIn sends a wrong token and the right one, by the keyboard, sees the page, and logs out.
  async logIn(page, { url, token }) {
    await page.goto(url);
    await page.keyboard.type("wrong token wrong token");
    await page.keyboard.press("Enter");
    await page.getByRole("alert").getByText("This is not the token.").waitFor();
    await examine(page, "log-in, refused");
    await page.screenshot({ path: path.join(job.out, "login-refused.png") });
    await page.getByLabel("Token").fill(token);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Cluster orders" }).waitFor();
    const [cookie] = await page.context().cookies();
    if (!cookie.httpOnly || cookie.sameSite !== "Strict" || cookie.value.includes(token)) find("log-in", `cookie: ${JSON.stringify(cookie)}`);
    await examine(page, "logged in");
    const status = await page.evaluate(() => fetch("/api/v1/topology").then((r) => r.status));
    if (status !== 200) find("log-in", `the API responds ${status}`);
    await page.getByRole("button", { name: "Log out" }).click();
    await page.getByLabel("Token").waitFor();
  },
  // live sees an event and new counts without a reload, and keeps the focus; it pauses, and sees kproxy go away.
  async live(page, { url, control }) {
    await page.goto(url);
    await page.keyboard.press("Tab");
    if (!(await page.getByRole("link", { name: "Skip to the content" }).isVisible())) find("keyboard", "the first stop is not the link to the content");
    await page.keyboard.press("Enter");
    if ((await page.evaluate(() => document.activeElement.id)) !== "main") find("keyboard", "the link does not lead to the content");
    await page.locator("#log summary").click();
    const link = page.getByRole("link", { name: "fred" });
    await link.focus();
    await fetch(control + "/event");
    await page.getByRole("rowheader", { name: "planted_reason" }).waitFor();
    if (!(await link.evaluate((e) => e === document.activeElement))) find("live", "the focus is lost");
    if (!(await page.locator("#log").evaluate((e) => e.open))) find("live", "the log is closed");
    const pause = page.getByRole("button", { name: "Pause" });
    await pause.press("Enter");
    await page.getByRole("status").getByText("Paused").waitFor();
    await pause.press("Enter");
    await page.getByRole("status").getByText("Live").waitFor();
    await fetch(control + "/stop");
    await page.getByRole("status").getByText("does not respond").waitFor({ timeout: 20000 });
    await examine(page, "kproxy has gone");
    await page.screenshot({ path: path.join(job.out, "gone.png") });
  },
};

(async () => {
  const browser = await chromium.launch({ executablePath: job.chromium, args: ["--no-sandbox", "--disable-gpu"] });
  try {
    for (const c of job.cases) await looks(browser, c);
    for (const s of job.steps) {
      const context = await browser.newContext({ viewport: { width: 1024, height: 800 } });
      const page = await context.newPage();
      page.setDefaultTimeout(10000);
      watch(page, s.name, ["401", "ERR_", "Failed to fetch"]);
      await steps[s.name](page, s).catch((e) => find(s.name, e.message));
      await context.close();
    }
  } finally {
    await browser.close();
  }
  process.stdout.write(JSON.stringify(findings));
})().catch((e) => {
  console.error(e);
  process.exit(1);
});
