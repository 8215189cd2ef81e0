import type { Command } from 'commander';
import { ApiClient, DEFAULT_SOCKET_PATH } from '../api/client.ts';

/** Options that every command of the agent takes. */
export interface AgentOptions {
  socket?: string;
  output?: string;
}

/** Adds `--socket` and, unless told otherwise, `-o` to a command that asks the agent. */
export function agentCommand(
  parent: Command,
  nameAndArgs: string,
  summary: string,
  withOutput = true,
): Command {
  const command = parent
    .command(nameAndArgs)
    .description(summary)
    .option('--socket <path>', `the agent's socket (default: $FIMBRIA_SOCK or ${DEFAULT_SOCKET_PATH})`);
  return withOutput ? command.option('-o, --output <format>', 'json, yaml or jsonpath=TEMPLATE') : command;
}

/** Options of a command and of all commands above it; the innermost that is given counts. */
export function options<T>(command: Command): T {
  const merged: Record<string, unknown> = {};
  for (let at: Command | null = command; at !== null; at = at.parent) {
    for (const [key, value] of Object.entries(at.opts())) if (value !== undefined) merged[key] ??= value;
  }
  return merged as T;
}

/** The client of the agent that the command line, `$FIMBRIA_SOCK` or the default names. */
export function agentClient(command: Command): ApiClient {
  const { socket } = options<AgentOptions>(command);
  return new ApiClient(socket || process.env['FIMBRIA_SOCK'] || DEFAULT_SOCKET_PATH);
}
