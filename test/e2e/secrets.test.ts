import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import test from 'ava';
import { formatKubeconfig, loadKubeconfig } from '../../src/cluster/index.ts';
import { labPaths } from '../../src/lab/names.ts';
import { TestLab } from './lab.ts';
import { TestNode } from './node.ts';

/** Of the agent's; the administrator's is the lab's own. */
const TOKEN = 'eyJhbGciOiJSUzI1NiJ9.YWdlbnQtdG9rZW4.c2lnbmF0dXJl';

test.serial(
  'tokens are in no log, no answer and no command line, also at debug level and when things go wrong',
  async t => {
    const lab = new TestLab('secrets');
    t.teardown(() => lab.down());
    const said = [await lab.must('lab', 'up', '--nodes', 'w1')];
    const paths = labPaths(lab.name);
    const admin = loadKubeconfig(paths.kubeconfig).token!;
    const { server } = loadKubeconfig(paths.localKubeconfig);
    const run = async (...args: string[]): Promise<void> => {
      const { stdout, stderr } = await lab.fimbria(...args);
      said.push(stdout, stderr);
    };
    await run('lab', 'node', 'stop', 'w1');
    writeFileSync(paths.localKubeconfig, formatKubeconfig('agent', { server, token: TOKEN }));
    const node = new TestNode(lab.name, 'w1');
    await node.launch(undefined, {}, ['--log-level', 'debug']);
    await node.ready();
    await run('lab', 'pod', 'add', 'a', '--node', 'w1');
    await run('lab', 'apiserver', 'kill');
    await run('lab', 'pod', 'list');
    await run('lab', 'apiserver', 'start');
    await run('lab', 'pod', 'delete', 'a');
    for (const args of [
      ['status', '--verbose'],
      ['config', 'view'],
      ['metrics', 'list'],
      ['endpoint', 'list', '-o', 'json'],
    ])
      await run('lab', 'exec', 'w1', '--', 'cilium', ...args);
    await run('lab', 'status', '-o', 'json');
    await run('get', 'cm', '-A', '-o', 'yaml');
    await run('get', 'ciliumnodes', '-o', 'yaml');
    // Then an agent that does not understand how to reach the cluster.
    await node.kill();
    writeFileSync(paths.localKubeconfig, `users: [{name: a, user: {token: ${TOKEN}}`);
    await node.launch(undefined, {}, ['--log-level', 'debug']);
    const logs = dirname(paths.log('agent-w1'));
    const agentLog = (): string => readFileSync(paths.log('agent-w1'), 'utf8');
    while (!agentLog().includes('it is no YAML')) await new Promise(setImmediate);
    said.push(...readdirSync(logs).map(name => readFileSync(`${logs}/${name}`, 'utf8')));
    const processes = JSON.parse(await lab.must('lab', 'status', '-o', 'json')) as {
      processes: { pid: number }[];
    };
    said.push(...processes.processes.map(({ pid }) => readFileSync(`/proc/${pid}/cmdline`, 'utf8')));

    t.true(agentLog().includes('level=debug'), 'the agent was as talkative as it can be');
    for (const secret of [admin, TOKEN]) t.false(said.join('\n').includes(secret));
  },
);
