import { dirname } from 'node:path';
import { FimbriaError } from '../../base/errors.ts';
import { type NativeObject, native } from '../addon.ts';
import { BpfMap } from './map.ts';
import { rememberNative } from './native-object.ts';
import { makeDirectories } from './pin.ts';
import { BpfProgram } from './program.ts';
import { type MapSpec, type MapTypes, mapTypeName, type ProgramSpec } from './types.ts';

/**
 * One BPF ELF file. `open` only parses; configure what must be set before loading; `load` creates maps,
 * verifies the programs and pins what is to be pinned. Maps and programs taken out of it with `map()` and
 * `program()` own descriptors of their own and outlive the object.
 */
export class BpfObject {
  /** The file it came from. */
  readonly path: string;
  /** Declared maps without the compiler's own data sections. */
  readonly maps: MapSpec[];
  readonly programs: ProgramSpec[];
  readonly #native: NativeObject;
  readonly #pinPaths = new Set<string>();

  private constructor(path: string, object: NativeObject, pinRoot: string | undefined) {
    this.path = path;
    this.#native = object;
    rememberNative(this, object);
    this.maps = object.maps().map(({ type, ...spec }) => ({ ...spec, type: mapTypeName(type) }));
    this.programs = object.programs();
    if (pinRoot !== undefined && this.maps.some(map => map.pinned)) this.#pinPaths.add(`${pinRoot}/.`);
  }

  /**
   * Parses a file.
   * @param options.pinRoot directory on a bpffs; maps declared LIBBPF_PIN_BY_NAME are pinned there under
   *   their names when the object is loaded, or taken up when they are there and have the same shape
   * @throws FimbriaError ENOENT, or BPF_OPEN when libbpf cannot make sense of it
   */
  static open(path: string, options: { pinRoot?: string } = {}): BpfObject {
    return new BpfObject(path, native().objectOpen(path, options.pinRoot), options.pinRoot);
  }

  /** Types of a declared map's key and value, before loading; undefined without BTF. @throws FimbriaError ENOENT */
  mapTypes(name: string): MapTypes | undefined {
    return this.#native.mapTypes(name);
  }

  /**
   * Sets variables of the read-only data sections (`volatile const` in C) before loading, so that the
   * verifier removes what they switch off. Sizes come from BTF.
   * @param values by variable name; numbers and bigints must fit the variable, byte arrays must fill it
   * @throws FimbriaError ENOENT for a name that no section has, ERANGE for a value that does not fit
   */
  setRodata(values: Record<string, number | bigint | boolean | Uint8Array>): void {
    for (const [name, value] of Object.entries(values)) {
      if (value instanceof Uint8Array) {
        this.#native.setRodata(name, value);
        continue;
      }
      if (typeof value === 'number' && !Number.isSafeInteger(value)) {
        throw new FimbriaError({
          code: 'ERANGE',
          op: 'set',
          object: `constant ${name}`,
          why: `${value} is not a whole number that a double holds exactly`,
          hint: 'give a bigint',
        });
      }
      this.#native.setRodata(name, BigInt(value));
    }
  }

  /**
   * Changes a map's declaration before loading.
   * @param options.pinPath where to pin it, null = do not pin
   * @param options.reuse a live map to use in its place
   * @param options.inner for maps of maps: the template that inner maps must resemble
   */
  configureMap(
    name: string,
    options: { maxEntries?: number; pinPath?: string | null; reuse?: BpfMap; inner?: BpfMap },
  ): void {
    if (options.maxEntries !== undefined) {
      this.#native.setMaxEntries(name, options.maxEntries);
      const spec = this.maps.find(map => map.name === name);
      if (spec) spec.maxEntries = options.maxEntries;
    }
    if (options.pinPath !== undefined) {
      this.#native.setPinPath(name, options.pinPath);
      if (options.pinPath !== null) this.#pinPaths.add(options.pinPath);
    }
    if (options.reuse !== undefined) this.#native.reuseMap(name, options.reuse.handle);
    if (options.inner !== undefined) this.#native.setInnerMap(name, options.inner.handle);
  }

  /** Says whether a program is loaded with the object (by default all are). Before loading. */
  configureProgram(name: string, options: { autoload?: boolean }): void {
    if (options.autoload !== undefined) this.#native.setAutoload(name, options.autoload);
  }

  /**
   * Loads into the kernel; blocks for as long as verification takes. An object loads once: after a failure
   * open the file again.
   * @throws FimbriaError BPF_LOAD with `errno`, libbpf's words in `why` and the verifier's in `log`
   */
  load(): void {
    this.#makePinDirectories();
    this.#native.load();
  }

  /** `load` on a thread of the pool. Nothing else may be done with the object until it settles. */
  async loadAsync(): Promise<void> {
    this.#makePinDirectories();
    await this.#native.loadAsync();
  }

  /** A map of the loaded object, with a descriptor of its own. @throws FimbriaError ENOENT, or EBADF before loading */
  map(name: string): BpfMap {
    return BpfMap.fromHandle(this.#native.map(name));
  }

  /** A program of the loaded object, with a descriptor of its own. @throws FimbriaError ENOENT, or EBADF before loading */
  program(name: string): BpfProgram {
    return BpfProgram.fromHandle(this.#native.program(name));
  }

  /** Frees libbpf's side. What was taken out of it, attached or pinned stays. A second call does nothing. */
  close(): void {
    this.#native.close();
  }

  #makePinDirectories(): void {
    for (const path of this.#pinPaths) makeDirectories(dirname(path));
  }
}
