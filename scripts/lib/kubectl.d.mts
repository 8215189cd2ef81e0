export const KUBECTLS: readonly { name: string; version: string; suite: string; package: string }[];
export function kubectlPath(kubectl: { suite: string }): string;
export function missingKubectls(): typeof KUBECTLS;
