export interface DebianPackage {
  suite: string;
  package: string;
}
export function unpackedPath(one: DebianPackage): string;
export function unpackedPackages(wanted: readonly DebianPackage[]): string[];
