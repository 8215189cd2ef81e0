/**
 * How the programs of a real Kubernetes are made out of Debian's packages, and nothing else that could change them: the
 * bytes of this file name the folder of the cache that they are kept in.
 *
 * Debian 12 is the last release whose source package of Kubernetes is complete (`cmd/`, `pkg/`, `staging/`, `vendor/`);
 * later ones hold kubectl alone.
 */
export const SUITE = 'bookworm';
export const VERSION = 'v1.20.2';
export const SOURCE = {
  package: 'kubernetes',
  archive: 'kubernetes_1.20.5+really1.20.2.orig.tar.gz',
  sha256: 'b83c0780efb182d928dc63d46488a847f161f04e40a94b96bf5247dd671ecdfc',
};

/** The compiler, and libraries that stand in for those of the archive. */
export const COMPILER = ['golang-1.19-go', 'golang-1.19-src'];
export const GOROOT = 'usr/lib/go-1.19';
/**
 * Of reflect2, the archive has 1.0.1, which crashes when Go 1.18 or newer compiled it (the API server dies of the first
 * custom resource); Debian's 1.0.2 does not.
 */
export const REPLACED = [
  { package: 'golang-github-modern-go-reflect2-dev', path: 'github.com/modern-go/reflect2' },
  { package: 'golang-github-json-iterator-go-dev', path: 'github.com/json-iterator/go' },
];
export const REPLACED_ROOT = 'usr/share/gocode/src';

export const PROGRAMS = ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kubelet'];

/** The import path of everything, and where GOPATH has it. */
export const MODULE = 'k8s.io/kubernetes';

/** Without cloud providers and docker: smaller, and nothing of them is used. */
export const TAGS = 'providerless dockerless';

const versionPackages = ['component-base/version', 'client-go/pkg/version'];
const [, major, minor] = /^v(\d+)\.(\d+)/.exec(VERSION);

/** What the programs say of themselves; `make` would take it from git. */
export const LINKER_FLAGS = [
  '-s',
  '-w',
  ...versionPackages.flatMap(path => {
    const name = `${MODULE}/vendor/k8s.io/${path}`;
    return [
      `-X ${name}.gitVersion=${VERSION}`,
      `-X ${name}.gitMajor=${major}`,
      `-X ${name}.gitMinor=${minor}`,
    ];
  }),
].join(' ');

/** The one generated file that the archive lacks: the API's OpenAPI definitions, of the folders that ask for it. */
export const OPENAPI = {
  generator: `${MODULE}/vendor/k8s.io/kube-openapi/cmd/openapi-gen`,
  mark: '+k8s:openapi-gen=',
  folders: ['cmd', 'pkg', 'plugin'],
  staging: 'staging/src/k8s.io',
  /** Programs of their own, not part of the API. */
  left: /code-generator|sample-/,
  output: `${MODULE}/pkg/generated/openapi`,
  header: 'hack/boilerplate/boilerplate.generatego.txt',
};
