import type { Command } from 'commander';
import type { ServiceModel } from '../../api/types.ts';
import { FimbriaError } from '../../base/errors.ts';
import { type AgentOptions, agentClient, agentCommand, options } from '../context.ts';
import { present, print } from '../format/output.ts';
import { serviceTable } from '../format/tables.ts';

interface ListOptions extends AgentOptions {
  name?: string;
  namespace?: string;
  type?: string;
  address?: string;
}

const TYPES = ['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalIPs', 'HostPort'] as const;

/** Refuses a type that no frontend has; any case will do. */
function typeNamed(given: string): string {
  const type = TYPES.find(known => known.toLowerCase() === given.toLowerCase());
  if (type) return type;
  throw new FimbriaError({
    code: 'USAGE',
    op: 'use',
    object: `--type ${given}`,
    why: 'there is no such type',
    hint: `use one of ${TYPES.join(', ')}`,
  });
}

/** Whether a frontend is among those that the options ask for. Pure. */
export function serviceMatches(service: ServiceModel, given: ListOptions): boolean {
  const [namespace, name] = (service.name ?? '').replace(/^pod:/, '').split('/');
  if (given.type !== undefined && service.type !== given.type) return false;
  if (given.namespace !== undefined && namespace !== given.namespace) return false;
  if (given.name !== undefined && ![name, `${namespace}/${name}`].includes(given.name)) return false;
  if (given.address === undefined) return true;
  const at = [service.frontend, ...service.backends.map(({ address }) => address)];
  return at.some(where => where === given.address || where.split(/[:/]/)[0] === given.address);
}

async function show(command: Command, services: ServiceModel[]): Promise<void> {
  const { output } = options<AgentOptions>(command);
  if (output === 'wide') return await print(serviceTable(services, true));
  await present(services, output, () => serviceTable(services));
}

/** `service list`, `service get`: frontends with their backends, as the agent wants them to be. */
export function addService(program: Command): void {
  const service = program.command('service').alias('svc').description('services that this node balances');
  agentCommand(service, 'list', 'frontends and their backends; -o wide shows whose they are')
    .alias('ls')
    .option('--name <name>', 'only of the Service NAME or NAMESPACE/NAME', undefined)
    .option('-n, --namespace <name>', 'only of Services of this namespace')
    .option('--type <type>', `only of this type: ${TYPES.join(', ')}`, typeNamed)
    .option('--address <address>', 'only with this address, of the frontend or of a backend')
    .action(async (_: unknown, command: Command) => {
      const given = options<ListOptions>(command);
      await show(
        command,
        (await agentClient(command).services()).filter(one => serviceMatches(one, given)),
      );
    });
  agentCommand(service, 'get <id>', 'one frontend, by the ID of `service list`').action(
    async (id: string, _: unknown, command: Command) => {
      const found = (await agentClient(command).services()).filter(one => `${one.id}` === id);
      if (found.length === 0)
        throw new FimbriaError({
          code: 'NOT_FOUND',
          op: 'get service',
          object: id,
          why: 'this node balances none with that ID',
          hint: 'see `fimbria service list`',
        });
      await show(command, found);
    },
  );
}
