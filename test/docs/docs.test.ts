import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test from 'ava';
import type { Command } from 'commander';
import { packageRoot } from '../../src/base/paths.ts';
import { createProgram } from '../../src/cli/program.ts';

/** What the documents name must be there: files, headings, commands with their options, scripts. */
const root = packageRoot();
const DOCUMENTS = [
  ...readdirSync(root).filter(name => name.endsWith('.md')),
  ...readdirSync(join(root, 'docs')).map(name => join('docs', name)),
];
const textOf = (path: string): string => readFileSync(join(root, path), 'utf8');

/** Lines of code blocks, with continued ones joined and comments gone, and spans of code. */
function codeOf(markdown: string): string[] {
  const blocks = [...markdown.matchAll(/^```[^\n]*\n([\s\S]*?)^```/gm)].map(([, code]) => code ?? '');
  const rest = markdown.replaceAll(/^```[\s\S]*?^```/gm, '');
  const spans = [...rest.matchAll(/`([^`]+)`/g)].map(([, code]) => (code ?? '').replaceAll(/\s+/g, ' '));
  const lines = blocks.flatMap(block => block.replaceAll('\\\n', ' ').split(/\n|; /));
  return [...lines, ...spans].map(line => line.replace(/\s+#.*$/, '').trim());
}

/** GitHub's name of a heading. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s-]/gu, '')
    .trim()
    .replaceAll(' ', '-');

test('links lead somewhere', t => {
  for (const path of DOCUMENTS) {
    for (const [, target = ''] of textOf(path).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target)) continue;
      const [file = '', anchor] = target.split('#');
      const found = file === '' ? path : join(dirname(path), file);
      t.true(existsSync(join(root, found)), `${path} links to ${target}`);
      if (anchor === undefined) continue;
      const anchors = [...textOf(found).matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
        anchorOf(heading ?? ''),
      );
      t.true(anchors.includes(anchor), `${path} links to ${target}, and there is ${anchors.join(', ')}`);
    }
  }
});

test('scripts that are named are there', t => {
  const { scripts } = JSON.parse(textOf('package.json')) as { scripts: Record<string, string> };
  for (const path of DOCUMENTS) {
    for (const code of codeOf(textOf(path))) {
      const [, run] = /^npm run ([\w:]+)/.exec(code) ?? [];
      if (run !== undefined) t.true(run in scripts, `${path}: ${code}`);
      const [, script] = /^node (scripts\/\S+)/.exec(code) ?? [];
      if (script !== undefined) t.true(existsSync(join(root, script)), `${path}: ${code}`);
    }
  }
});

/** A word that stands for others: `NAME`, `…`, `<id|…>`, `ct|lb`. */
const isPlaceholder = (word: string): boolean => /[…<>[\]|]|^[A-Z]+$/.test(word);

/** Why a command line cannot be meant; undefined when it can, as far as its words say. */
function problemOf(program: Command, words: readonly string[]): string | undefined {
  let at = program;
  let rest = [...words];
  while (rest[0] !== undefined && at.commands.length > 0) {
    const [word] = rest as [string];
    if (isPlaceholder(word)) return undefined;
    const next = at.commands.find(child => child.name() === word || child.aliases().includes(word));
    if (next === undefined) {
      if (word.startsWith('-')) break;
      return `there is no command ${word} of ${at.name()}`;
    }
    at = next;
    rest = rest.slice(1);
  }
  const end = rest.indexOf('--');
  const inner = end < 0 ? [] : rest.slice(end + 1);
  if (/^(fimbria|cilium|cilium-dbg)$/.test(inner[0] ?? '')) return problemOf(program, inner.slice(1));
  for (const word of end < 0 ? rest : rest.slice(0, end)) {
    if (!/^--?[a-z]/i.test(word)) continue;
    const flag = word.replace(/=.*$/, '');
    let owner: Command | null = at;
    while (owner && !owner.options.some(o => o.long === flag || o.short === flag)) owner = owner.parent;
    if (!owner && flag !== '--help') return `${at.name()} has no option ${flag}`;
  }
  return undefined;
}

test('commands that are named are there, with their options', async t => {
  const program = await createProgram([]);
  let checked = 0;
  for (const path of DOCUMENTS) {
    for (const code of codeOf(textOf(path))) {
      const [, line] = /^(?:npx )?(?:fimbria|cilium|cilium-dbg) (.+)$/.exec(code) ?? [];
      if (line === undefined) continue;
      // Optional words are checked as if they stood there.
      const words = line.replaceAll(/[[\]]/g, '').split(/\s+/);
      t.is(problemOf(program, words), undefined, `${path}: ${code}`);
      checked++;
    }
  }
  t.true(checked > 40);
  t.is(problemOf(program, ['lab', 'up', '--nods', '3']), 'up has no option --nods');
  t.is(
    problemOf(program, ['lab', 'exec', 'w1', '--', 'cilium', 'stat']),
    'there is no command stat of fimbria',
  );
});
