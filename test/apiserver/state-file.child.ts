import { writeSync } from 'node:fs';
import { StateFile } from '../../src/apiserver/state-file.ts';
import { codeOf } from '../../src/base/errors.ts';

/**
 * The process that the tests of the state file kill.
 * `append PATH` and `replace PATH` write consecutive numbers for ever and tell each on stdout when it is safe;
 * `overflow PATH` runs into a limit and tells the error's code.
 */
const [mode, path = ''] = process.argv.slice(2);
const { file, records } = StateFile.open(path, { durable: false });

if (mode === 'overflow') {
  file.append({ n: 0 });
  try {
    file.append({ n: 1, text: 'x'.repeat(10_000) });
  } catch (error) {
    writeSync(1, `${codeOf(error)}\n`);
  }
  file.append({ n: 2 });
} else {
  const kept = records as { n: number }[];
  for (let n = (kept.at(-1)?.n ?? -1) + 1; ; n++) {
    file.append({ n });
    kept.push({ n });
    writeSync(1, `${n}\n`);
    if (mode === 'replace' && n % 3 === 0) {
      kept.splice(0, kept.length - 50);
      file.replace(kept);
    }
  }
}
