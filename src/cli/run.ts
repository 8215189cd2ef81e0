import { type Command, CommanderError } from 'commander';
import { codeOf, FimbriaError, messageOf } from '../base/errors.ts';

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;
/** 128 + SIGINT, as shells have it. */
const EXIT_INTERRUPTED = 130;

const EXIT_BY_CODE: Record<string, number> = { USAGE: EXIT_USAGE, INTERRUPTED: EXIT_INTERRUPTED };

/** Asked for and printed; no failure. */
const HELP_CODES = new Set(['commander.help', 'commander.helpDisplayed', 'commander.version']);

/** Where a person reads how the failed command is used. */
function helpHint(program: Command, argv: string[]): string {
  const path = [program.name()];
  let at: Command = program;
  for (const word of argv) {
    const next = at.commands.find(child => child.name() === word || child.aliases().includes(word));
    if (next === undefined) break;
    at = next;
    path.push(next.name());
  }
  return `see \`${path.join(' ')} --help\``;
}

/** Turns what commander says into one line of ours: `unknown option '--x'; see …`. */
function usageText(error: CommanderError, program: Command, argv: string[]): string {
  const [what = '', ...rest] = error.message
    .replace(/^error: /, '')
    .trim()
    .split('\n');
  const suggestion = rest.map(line => line.trim()).join(' ');
  return `${what}${suggestion === '' ? '' : ` ${suggestion}`}; ${helpHint(program, argv)}`;
}

/** The one line for people. Line feeds in a cause become blanks. */
function fail(text: string, exitCode: number): void {
  process.stderr.write(`fimbria: ${text.replaceAll(/\s*\n\s*/g, ' ')}\n`);
  process.exitCode = exitCode;
}

/**
 * Runs the command line and sets the exit code: 0, 1 for a failure, 2 for wrong usage, 130 when interrupted.
 * A reader of the output that goes away (EPIPE) ends the program quietly.
 */
export async function run(program: Command, argv: string[]): Promise<void> {
  process.stdout.on('error', error => {
    if (codeOf(error) !== 'EPIPE') throw error;
    process.exit(process.exitCode ?? 0);
  });
  const interrupted = (): void => {
    // A command that wants to end in its own way (monitor, lab) has a listener of its own.
    if (process.listenerCount('SIGINT') === 1) process.exit(EXIT_INTERRUPTED);
  };
  process.on('SIGINT', interrupted);
  try {
    await program.parseAsync(argv, { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError) {
      if (HELP_CODES.has(error.code) && error.exitCode === 0) return;
      // Help without a command: commander has printed it to stderr.
      if (HELP_CODES.has(error.code)) process.exitCode = EXIT_USAGE;
      else fail(usageText(error, program, argv), EXIT_USAGE);
    } else if (error instanceof FimbriaError) {
      fail(error.message, EXIT_BY_CODE[error.code] ?? EXIT_FAILURE);
      if (error.log) process.stderr.write(`${error.log}\n`);
    } else {
      fail(`unexpected failure: ${messageOf(error)}; set FIMBRIA_DEBUG=1 to see where`, EXIT_FAILURE);
      if (process.env['FIMBRIA_DEBUG'] && error instanceof Error) process.stderr.write(`${error.stack}\n`);
    }
  } finally {
    process.off('SIGINT', interrupted);
  }
}
