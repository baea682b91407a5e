// Holds a page of `report` against axe-core, at two widths, light and dark, folded and unfolded; fails on any fault.
// npm install --prefix /tmp/axe axe-core puppeteer-core
// NODE_PATH=/tmp/axe/node_modules node docs/scripts/page_faults.cjs report/report.html
const path = require("path");
const puppeteer = require("puppeteer-core");

(async () => {
  const browser = await puppeteer.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox"] });
  for (const width of [1280, 390])
    for (const scheme of ["light", "dark"])
      for (const unfolded of [false, true]) {
        const page = await browser.newPage();
        await page.setViewport({ width, height: 800 });
        await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
        await page.goto(`file://${path.resolve(process.argv[2])}`);
        await page.evaluate((open) => document.querySelectorAll("details").forEach((each) => (each.open = open)), unfolded);
        await page.addScriptTag({ path: require.resolve("axe-core/axe.min.js") });
        const [found, wide] = await page.evaluate(async () => [await axe.run(), document.documentElement.scrollWidth]);
        const sheets = Buffer.from(await page.pdf({ format: "A4" })).toString("latin1").match(/\/Type\s*\/Page[^s]/g).length;
        console.log(`${width} ${scheme} ${unfolded ? "unfolded" : "folded"}: ${found.violations.length} faults, ` +
          `${found.passes.length} rules hold, ${wide} pixels wide, ${sheets} sheets`);
        for (const fault of found.violations) console.log(`  ${fault.impact}: ${fault.help} (${fault.nodes[0].html.slice(0, 100)})`);
        process.exitCode ||= Number(found.violations.length > 0 || wide > width);
        await page.close();
      }
  await browser.close();
})();
