// Runs a WASI program: node wasi.mjs PROGRAM [ARGUMENT...]; ends with its exit status.
import { readFile } from "node:fs/promises";
import { WASI } from "node:wasi";

const [program, ...args] = process.argv.slice(2);
// returnOnExit: the program ends the process itself; JavaScript that runs after it makes node 20 crash.
const wasi = new WASI({ version: "preview1", args: [program, ...args], env: process.env, returnOnExit: false });
const module = await WebAssembly.compile(await readFile(program));
const instance = await WebAssembly.instantiate(module, wasi.getImportObject());
process.exit(wasi.start(instance));
