import { Command } from 'commander';
import { addAgentLists } from './commands/agent.ts';
import { addBpf } from './commands/bpf.ts';
import { addCleanup } from './commands/cleanup.ts';
import { addCompletion } from './commands/completion.ts';
import { addConnectivity } from './commands/connectivity.ts';
import { addInstall } from './commands/install.ts';
import { addIpam } from './commands/ipam.ts';
import { addMetrics } from './commands/metrics.ts';
import { addMonitor } from './commands/monitor.ts';
import { addNodeMounts } from './commands/node-mounts.ts';
import { addObjects } from './commands/objects.ts';
import { addStatus } from './commands/status.ts';

/** Makes a command and all below it throw instead of exiting, and keep its error line to itself. */
function throwing(command: Command): Command {
  command.exitOverride();
  command.configureOutput({ outputError: () => {} });
  for (const child of command.commands) throwing(child);
  return command;
}

/** Hands the rest of the line to a program that reads its own arguments. */
function addApiServer(program: Command): void {
  program
    .command('apiserver')
    .description('the embedded API server')
    .allowUnknownOption()
    .allowExcessArguments()
    .helpOption(false)
    .argument('[args...]')
    .action(async (args: string[]) => {
      const { apiserverMain } = await import('../apiserver/main.ts');
      await apiserverMain(args);
    });
}

/** Words that may mean the lab's commands. */
const NEEDS_LAB = new Set(['lab', 'lab-controllers', 'help', 'completion']);

/**
 * The whole command line. `lab` brings many modules along, so its commands are loaded only when they are asked
 * for: when a word may mean them, or when everything is wanted (help, completion).
 */
export async function createProgram(argv: string[]): Promise<Command> {
  const program = new Command('fimbria')
    .description(
      'A pod network for Linux nodes that speaks Cilium’s names. Also called as cilium and cilium-dbg.',
    )
    .option('--socket <path>', 'the agent’s socket ($FIMBRIA_SOCK)')
    .enablePositionalOptions()
    .showHelpAfterError(false);
  addStatus(program);
  addAgentLists(program);
  addBpf(program);
  addMonitor(program);
  addIpam(program);
  addMetrics(program);
  addConnectivity(program);
  addCleanup(program);
  addInstall(program);
  addNodeMounts(program);
  addObjects(program);
  addApiServer(program);
  if (!argv.some(word => !word.startsWith('-')) || argv.some(word => NEEDS_LAB.has(word))) {
    const { labCommand, labControllersCommand } = await import('./lab.ts');
    program.addCommand(labCommand());
    program.addCommand(labControllersCommand(), { hidden: true });
  }
  addCompletion(program);
  return throwing(program);
}
