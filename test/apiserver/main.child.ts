import { apiserverMain } from '../../src/apiserver/main.ts';

/** `fimbria apiserver` as a process of its own, for tests that kill it. */
await apiserverMain(process.argv.slice(2));
