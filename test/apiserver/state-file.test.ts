import { execFileSync, spawn } from 'node:child_process';
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import test from 'ava';
import { StateFile } from '../../src/apiserver/state-file.ts';
import { FimbriaError } from '../../src/base/errors.ts';
import { scratch } from './helpers.ts';

const CHILD = new URL('./state-file.child.ts', import.meta.url).pathname;
const VOLATILE = { durable: false };

function read(path: string): { records: unknown[]; lostBytes: number } {
  const { file, records, lostBytes } = StateFile.open(path, VOLATILE);
  file.close();
  return { records, lostBytes };
}

test('what was appended is read, also after appending again', t => {
  const path = join(scratch(t), 'state');
  const first = StateFile.open(path, { durable: true });
  t.deepEqual(first.records, []);
  first.file.append({ n: 1 });
  first.file.append({ n: 2, text: 'zwölf\n' });
  first.file.close();
  const second = StateFile.open(path, { durable: true });
  second.file.append({ n: 3 });
  t.is(second.file.size, statSync(path).size);
  second.file.close();
  t.deepEqual(read(path), { records: [{ n: 1 }, { n: 2, text: 'zwölf\n' }, { n: 3 }], lostBytes: 0 });
  t.is(statSync(path).mode & 0o777, 0o600);
});

test('a file cut at any byte gives the whole records before the cut', t => {
  const directory = scratch(t);
  const whole = join(directory, 'whole');
  const { file } = StateFile.open(whole, VOLATILE);
  const ends = [0];
  for (let n = 0; n < 8; n++) {
    file.append({ n, text: 'x'.repeat(n * 7) });
    ends.push(file.size);
  }
  file.close();
  for (let size = 0; size <= statSync(whole).size; size++) {
    const cut = join(directory, 'cut');
    copyFileSync(whole, cut);
    truncateSync(cut, size);
    const complete = ends.filter(end => end <= size).length - 1;
    const { file: opened, records, lostBytes } = StateFile.open(cut, VOLATILE);
    t.is(records.length, complete);
    t.is(lostBytes, size - ends[complete]!);
    opened.append({ n: 'next' });
    opened.close();
    t.deepEqual(read(cut).records.at(-1), { n: 'next' });
  }
});

test('no damaged byte is accepted, and damage before whole records is refused', t => {
  const directory = scratch(t);
  const whole = join(directory, 'whole');
  const { file } = StateFile.open(whole, VOLATILE);
  for (let n = 0; n < 4; n++) file.append({ n });
  const lastTwo = readFileSync(whole).length;
  file.close();
  const bytes = readFileSync(whole);
  const records = read(whole).records;
  let refused = 0;
  for (let at = 0; at < lastTwo; at++) {
    const damaged = join(directory, 'damaged');
    const copy = Buffer.from(bytes);
    copy[at] = copy[at]! ^ 0x01;
    writeFileSync(damaged, copy);
    try {
      const survived = read(damaged).records;
      t.true(survived.length < records.length);
      t.deepEqual(survived, records.slice(0, survived.length));
    } catch (error) {
      t.is((error as FimbriaError).code, 'DAMAGED');
      refused++;
    }
  }
  t.true(refused > 0);
});

test('a record that is missing in the middle is noticed', t => {
  const path = join(scratch(t), 'state');
  const { file } = StateFile.open(path, VOLATILE);
  for (let n = 0; n < 5; n++) file.append({ n });
  file.close();
  const lines = readFileSync(path, 'utf8').split('\n');
  lines.splice(1, 1);
  writeFileSync(path, lines.join('\n'));
  const error = t.throws(() => read(path), { instanceOf: FimbriaError });
  t.is(error?.code, 'DAMAGED');
});

test('replacing leaves the new records, and what a crash left behind is swept away', t => {
  const path = join(scratch(t), 'state');
  const { file } = StateFile.open(path, { durable: true });
  for (let n = 0; n < 5; n++) file.append({ n });
  file.replace([{ n: 'a' }, { n: 'b' }]);
  file.append({ n: 'c' });
  t.is(file.size, statSync(path).size);
  file.close();
  writeFileSync(`${path}.new`, 'half of somethi');
  t.deepEqual(read(path).records, [{ n: 'a' }, { n: 'b' }, { n: 'c' }]);
  t.false(existsSync(`${path}.new`));
});

test('a record that does not fit leaves the file as it was', t => {
  const path = join(scratch(t), 'state');
  // The limit on file sizes makes writes fail as a full disk does: the first part of a record is written.
  const script = 'trap "" XFSZ; ulimit -f 4; exec "$0" --import=tsx "$1" overflow "$2"';
  const output = execFileSync('bash', ['-c', script, process.execPath, CHILD, path], { encoding: 'utf8' });
  t.is(output, 'EFBIG\n');
  const { records, lostBytes } = read(path);
  t.is(lostBytes, 0);
  t.deepEqual(records, [{ n: 0 }, { n: 2 }]);
});

for (const mode of ['append', 'replace']) {
  test(`kill -9 while it writes (${mode}) loses nothing that was acknowledged`, async t => {
    const path = join(scratch(t), 'state');
    let expected = 0;
    for (let round = 0; round < 4; round++) {
      const child = spawn(process.execPath, ['--import=tsx', CHILD, mode, path], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const exited = new Promise(resolve => child.once('exit', resolve));
      let acknowledged = -1;
      const enough = expected + 150 + Math.floor(Math.random() * 300);
      for await (const line of createInterface({ input: child.stdout })) {
        acknowledged = Number(line);
        if (acknowledged >= enough) child.kill('SIGKILL');
      }
      await exited;
      const { records } = read(path);
      const numbers = records.map(record => (record as { n: number }).n);
      t.true(numbers.at(-1)! >= acknowledged, `${numbers.at(-1)} < ${acknowledged}`);
      for (let i = 1; i < numbers.length; i++) t.is(numbers[i], numbers[i - 1]! + 1);
      expected = numbers.at(-1)!;
    }
  });
}

test('a torn record is cut off for good', t => {
  const path = join(scratch(t), 'state');
  const { file } = StateFile.open(path, VOLATILE);
  file.append({ n: 1 });
  file.close();
  const size = statSync(path).size;
  appendFileSync(path, 'deadbeef {"n":2');
  t.deepEqual(read(path), { records: [{ n: 1 }], lostBytes: 15 });
  t.is(statSync(path).size, size);
});
