import type { NativeObject } from '../addon.ts';

const natives = new WeakMap<object, NativeObject>();

/** Notes the addon's side of a `BpfObject`, so that the object's class and its users need not import each other. */
export function rememberNative(object: object, native: NativeObject): void {
  natives.set(object, native);
}

/** The addon's side of an object, for the modules of this folder. */
export function nativeOf(object: object): NativeObject {
  return natives.get(object)!;
}
