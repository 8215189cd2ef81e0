import type { Command, Option } from 'commander';
import { FimbriaError } from '../../base/errors.ts';
import { print } from '../format/output.ts';

/** What can follow one command. */
interface Choices {
  /** The words before: `` for the program itself, `endpoint get`. */
  path: string;
  words: { word: string; about: string }[];
}

const hidden = (command: Command): boolean => (command as unknown as { _hidden?: boolean })._hidden === true;

/** Every command with the words that can follow it. Aliases are left out: a person completes full names. */
function choices(command: Command, path: string[] = []): Choices[] {
  const children = command.commands.filter(child => !hidden(child));
  const words = [
    ...children.map(child => ({ word: child.name(), about: child.description() })),
    ...command.options
      .filter((option: Option) => !option.hidden && option.long !== undefined)
      .map(option => ({ word: option.long ?? '', about: option.description })),
  ];
  return [
    { path: path.join(' '), words },
    ...children.flatMap(child => choices(child, [...path, child.name()])),
  ];
}

const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
const names = ['fimbria', 'cilium', 'cilium-dbg'];

function bash(all: Choices[]): string {
  const cases = all.map(
    ({ path, words }) => `    ${quote(path)}) words=${quote(words.map(w => w.word).join(' '))} ;;`,
  );
  return `# bash completion for fimbria: source <(fimbria completion bash)
_fimbria() {
  local path='' word words='' i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    [[ $word == -* ]] && continue
    case "\${path:+$path }$word" in
      ${all.flatMap(({ path }) => (path === '' ? [] : [quote(path)])).join(' | ')}) path="\${path:+$path }$word" ;;
    esac
  done
  case "$path" in
${cases.join('\n')}
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}")
}
complete -o default -F _fimbria ${names.join(' ')}
`;
}

function zsh(all: Choices[]): string {
  return `#compdef ${names.join(' ')}
# zsh completion for fimbria: source <(fimbria completion zsh)
autoload -U +X bashcompinit && bashcompinit
${bash(all)}`;
}

function fish(all: Choices[]): string {
  const lines = all.flatMap(({ path, words }) =>
    words.map(({ word, about }) => {
      const what = word.startsWith('--') ? `-l ${word.slice(2)}` : `-f -a ${quote(word)}`;
      return `complete -c fimbria -n ${quote(`__fimbria_at ${quote(path)}`)} ${what} -d ${quote(about)}`;
    }),
  );
  const paths = all.flatMap(({ path }) => (path === '' ? [] : [quote(path)]));
  return `# fish completion for fimbria: fimbria completion fish | source
function __fimbria_at
    set -l path
    for word in (commandline -opc)[2..]
        string match -q -- '-*' $word; and continue
        set -l longer (string join ' ' -- $path $word)
        contains -- $longer ${paths.join(' ')}; and set path $path $word
    end
    test (string join ' ' -- $path) = "$argv[1]"
end
${lines.join('\n')}
${names
  .slice(1)
  .map(name => `complete -c ${name} -w fimbria\n`)
  .join('')}`;
}

/** `completion bash|zsh|fish`: a script made of the commands as they are. Must be added last. */
export function addCompletion(program: Command): void {
  const shells: Record<string, (all: Choices[]) => string> = { bash, zsh, fish };
  program
    .command('completion <shell>')
    .description('completion script for bash, zsh or fish')
    .action(async (shell: string) => {
      const script = shells[shell];
      if (script === undefined) {
        throw new FimbriaError({
          code: 'USAGE',
          op: 'make completion for',
          object: `'${shell}'`,
          why: 'there is none',
          hint: 'use bash, zsh or fish',
        });
      }
      await print(script(choices(program)));
    });
}
