import type { Command } from 'commander';
import { DEFAULT_SOCKET_PATH } from '../../api/client.ts';
import { options } from '../context.ts';
import { print } from '../format/output.ts';

interface CleanupFlags {
  socket?: string;
  stateDir: string;
  bpfRoot: string;
  cniConfDir: string;
  cniBinDir?: string;
  dryRun?: boolean;
  force?: boolean;
}

/** `cleanup`: takes everything of ours off this node. */
export function addCleanup(program: Command): void {
  program
    .command('cleanup')
    .description('take everything of Fimbria off this node; pods here lose their network, sysctls stay')
    .option('--dry-run', 'only show what would go')
    .option('--force', 'also while an agent runs')
    .option('--socket <path>', `the agent's socket (default: $FIMBRIA_SOCK or ${DEFAULT_SOCKET_PATH})`)
    .option('--state-dir <dir>', 'endpoint state', '/run/fimbria/state')
    .option('--bpf-root <dir>', 'where bpffs is mounted', '/sys/fs/bpf')
    .option('--cni-conf-dir <dir>', 'where the CNI configuration is', '/etc/cni/net.d')
    .option('--cni-bin-dir <dir>', 'also remove the CNI plugin from there')
    .action(async (_: unknown, command: Command) => {
      const given = options<CleanupFlags>(command);
      const { cleanUp } = await import('../../agent/cleanup.ts');
      const dryRun = given.dryRun ?? false;
      const count = await cleanUp(
        {
          socket: given.socket || process.env['FIMBRIA_SOCK'] || DEFAULT_SOCKET_PATH,
          stateDir: given.stateDir,
          bpfRoot: given.bpfRoot,
          cniConfDir: given.cniConfDir,
          ...(given.cniBinDir ? { cniBinDir: given.cniBinDir } : {}),
        },
        {
          dryRun,
          force: given.force ?? false,
          say: what => print(`${dryRun ? 'would remove' : 'remove'} ${what}\n`),
        },
      );
      if (count === 0) await print('nothing of Fimbria is on this node\n');
    });
}
