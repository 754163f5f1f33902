// compile.mjs WORK SRC OUT [FILE]: compiles the .ts files of SRC (or one of them) into the module OUT.
// WORK holds node_modules/ and src, a link to SRC. Says mistakes as compilers do: FILE:LINE:COLUMN.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { join } from "node:path";

const [work, src, out, only] = process.argv.slice(2);
const asc = await import(pathToFileURL(join(work, "node_modules/assemblyscript/dist/asc.js")));
const kOffered = ["sdk", "assemblyscript", "@assemblyscript/wasi-shim"];

function fail(message) {
  console.error(message);
  process.exit(1);
}

const manifest = join(src, "package.json");
if (existsSync(manifest)) {
  let wanted = {};
  try {
    wanted = JSON.parse(readFileSync(manifest, "utf8")).dependencies ?? {};
  } catch (error) {
    fail(`${manifest}:1:1: error: ${error.message}`);
  }
  const foreign = Object.keys(wanted).filter((name) => !kOffered.includes(name));
  if (foreign.length > 0)
    fail(`${manifest}:1:1: error: no packages are fetched for functions in AssemblyScript; there are ` +
      `${kOffered.join(", ")}: copy the sources of ${foreign.join(", ")} into the function's folder`);
}

const files = only ? [only] : readdirSync(src).filter((n) => n.endsWith(".ts") && !n.endsWith(".d.ts")).sort();
if (files.length === 0) fail(`build: no .ts file in ${src}`);
writeFileSync(join(work, "entry.ts"),
  files.map((name) => `export * from ${JSON.stringify("./src/" + name.replace(/\.ts$/, ""))};\n`).join(""));

const kSeverities = ["pedantic", "info", "warning", "error"];
function report(diagnostic) {
  const { range } = diagnostic;
  let place = "";
  const path = range?.source?.normalizedPath.replace(/^src\//, src + "/");
  if (path && existsSync(path)) {
    const before = readFileSync(path, "utf8").slice(0, range.start).split("\n");
    place = `${path}:${before.length}:${before.at(-1).length + 1}: `;
  }
  console.error(`${place}${kSeverities[diagnostic.category] ?? "error"}: ${diagnostic.message}`);
}

process.chdir(work);  // what asc takes relative paths from
const { error } = await asc.main([
  "entry.ts", "-o", "main.wasm",
  "--config", "node_modules/@assemblyscript/wasi-shim/asconfig.json",
  "--runtime", "minimal", "-O3", "--shrinkLevel", "2",
], {
  stdout: { write() {} },
  stderr: { write() {} },  // the diagnostics, which report() says
  writeFile(name, contents) {
    if (name.endsWith(".wasm")) writeFileSync(out, contents);
  },
  reportDiagnostic: report,
});
if (error) fail(`build: ${error.message}`);
