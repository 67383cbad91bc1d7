// Reads an AsyncAPI document (path as the first argument) with the reference parser and prints its diagnostics as JSON.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [document, modules] = process.argv.slice(2);
const require = createRequire(pathToFileURL(`${modules}/`));
const { Parser } = require("@asyncapi/parser");
const diagnostics = await new Parser().validate(readFileSync(document, "utf8"));
console.log(JSON.stringify(diagnostics.map(({ severity, code, path, message }) => ({ severity, code, path, message }))));
