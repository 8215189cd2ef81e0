/** `fimbria`, and the same program as `cilium` and `cilium-dbg` inside nodes. */
import { createProgram } from './program.ts';
import { run } from './run.ts';

const argv = process.argv.slice(2);
await run(await createProgram(argv), argv);
