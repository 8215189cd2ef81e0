import { builtObject, type Configuration, configurationName, Loaded, Namespace, Probes } from './harness.ts';
import { fillMaps, furnish } from './world.ts';

const OBJECTS = ['lxc', 'host', 'netdev', 'overlay'] as const;

/** All programs and their probes, loaded when first asked for, each in a world of its own. Close it. */
export class Programs {
  readonly #namespace: Namespace;
  readonly #probes = new Probes();
  readonly #paths = new Map<string, string>();
  readonly #loaded = new Map<string, Loaded>();

  private constructor(namespace: Namespace) {
    this.#namespace = namespace;
  }

  static async create(): Promise<Programs> {
    const programs = new Programs(await Namespace.create());
    try {
      furnish(programs.#namespace);
      for (const object of OBJECTS) {
        programs.#paths.set(object, builtObject(object));
        programs.#paths.set(`${object}_probe`, programs.#probes.compile(`${object}_probe`));
      }
      return programs;
    } catch (error) {
      programs.close();
      throw error;
    }
  }

  /** The object with this program: `cil_` ones are as built, `probe_` ones wrap them. Tracing is on. */
  load(program: string, configuration: Configuration): Loaded {
    const [prefix, , place = ''] = program.split('_');
    const object = (place === 'container' ? 'lxc' : place) + (prefix === 'probe' ? '_probe' : '');
    const key = `${object} ${configurationName(configuration)}`;
    let found = this.#loaded.get(key);
    if (!found) {
      found = new Loaded(this.#paths.get(object)!, configuration, this.#namespace.path);
      this.#loaded.set(key, found);
      fillMaps(found);
      found.runtime.set(0, { trace: true });
    }
    return found;
  }

  close(): void {
    for (const object of this.#loaded.values()) object.close();
    this.#loaded.clear();
    this.#probes.close();
    this.#namespace.close();
  }
}
