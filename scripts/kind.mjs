#!/usr/bin/env node
/**
 * A kind cluster with Fimbria, and the end-to-end tests on it: for people with Docker and kind's node image. What is
 * missing is said before anything is begun. The cluster goes at the end, unless it shall be kept.
 *
 *   node scripts/kind.mjs [--keep] [--image kindest/node:vX] [--name NAME] [--set k=v]…
 *   node scripts/kind.mjs --delete [--name NAME]
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { output, root, run, say, scriptArguments } from './lib/project.mjs';

const NODE_IMAGE = 'kindest/node';
const NODES = `kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
networking:
  disableDefaultCNI: true
nodes:
- role: control-plane
- role: worker
- role: worker
`;

/** The node image to take. Throws with all that is missing, and how to get it. */
function requirements(image) {
  const missing = [];
  const docker = output('docker', ['info', '--format', '{{.ServerVersion}}']);
  if (docker === undefined)
    missing.push('Docker: `docker info` fails; install it, start it, and run this as its user');
  if (output('kind', ['version']) === undefined) {
    missing.push(
      'kind: it is not on PATH; see https://kind.sigs.k8s.io (`apt-get install kind` on Debian 13)',
    );
  }
  const found = docker === undefined ? undefined : localImage(image);
  if (docker !== undefined && found === undefined) {
    missing.push(
      `the image ${image ?? NODE_IMAGE}: Docker does not have it; docker pull ${image ?? `${NODE_IMAGE}:v1.32.2`}`,
    );
  }
  if (missing.length > 0)
    throw new Error(`this needs what is not here:\n${missing.map(one => `  - ${one}`).join('\n')}`);
  return found;
}

/** The image that is named, or else the newest node image that Docker has. */
function localImage(image) {
  if (image) return output('docker', ['image', 'inspect', '--format', '{{.Id}}', image]) && image;
  const all = output('docker', ['image', 'ls', '--format', '{{.Repository}}:{{.Tag}}', NODE_IMAGE]) ?? '';
  return all.split('\n').find(name => name && !name.endsWith(':<none>'));
}

const fimbria = (args, env) => run(process.execPath, ['dist/fimbria.js', ...args], { env });

/** Both images, onto every node. */
function loadImages(name, work) {
  const agent = join(work, 'fimbria.tar');
  const busybox = join(work, 'busybox.tar');
  run(process.execPath, ['scripts/image.mjs', '--output', agent]);
  const pack = `import { packBusybox } from './test/kubernetes/lib/image.ts'; packBusybox(${JSON.stringify(busybox)});`;
  run(process.execPath, ['--import=tsx', '--input-type=module', '--eval', pack]);
  for (const archive of [agent, busybox]) run('kind', ['load', 'image-archive', archive, '--name', name]);
}

function bringUp(name, image, sets, work) {
  const config = join(work, 'kind.yaml');
  const kubeconfig = join(work, 'kubeconfig');
  writeFileSync(config, NODES);
  run('kind', [
    'create',
    'cluster',
    '--name',
    name,
    '--image',
    image,
    '--config',
    config,
    '--kubeconfig',
    kubeconfig,
  ]);
  loadImages(name, work);
  const env = { ...process.env, KUBECONFIG: kubeconfig };
  fimbria(['install', ...sets.flatMap(one => ['--set', one])], env);
  fimbria(['status', '--cluster', '--wait'], env);
  return kubeconfig;
}

/** Runs the tests; they print their own sum. Returns their exit status. */
function test(kubeconfig) {
  const args = ['scripts/test.mjs', '--config', 'ava.given.config.js'];
  const env = { ...process.env, FIMBRIA_TEST_KUBECONFIG: kubeconfig };
  return spawnSync(process.execPath, args, { cwd: root, env, stdio: 'inherit' }).status ?? 1;
}

function main() {
  const { values } = parseArgs({
    args: scriptArguments(import.meta.url),
    options: {
      keep: { type: 'boolean' },
      delete: { type: 'boolean' },
      image: { type: 'string' },
      name: { type: 'string', default: 'fimbria' },
      set: { type: 'string', multiple: true, default: [] },
    },
  });
  const { name } = values;
  if (values.delete) {
    run('kind', ['delete', 'cluster', '--name', name]);
    return 0;
  }
  const image = requirements(values.image);
  if ((output('kind', ['get', 'clusters']) ?? '').split('\n').includes(name)) {
    throw new Error(`kind has a cluster ${name} already: node scripts/kind.mjs --delete, or another --name`);
  }
  run('npm', ['run', 'build']);
  const work = mkdtempSync(join(tmpdir(), 'fimbria-kind-'));
  let done = false;
  try {
    const kubeconfig = bringUp(name, image, values.set, work);
    const status = test(kubeconfig);
    done = values.keep === true;
    return status;
  } finally {
    if (done)
      say(
        `kept: kubectl --kubeconfig ${join(work, 'kubeconfig')} get pods -A; node scripts/kind.mjs --delete`,
      );
    else {
      spawnSync('kind', ['delete', 'cluster', '--name', name], { stdio: 'inherit' });
      rmSync(work, { recursive: true, force: true });
    }
  }
}

try {
  process.exitCode = main();
} catch (error) {
  process.stderr.write(`fimbria kind: ${error.message}\n`);
  process.exitCode = 1;
}
