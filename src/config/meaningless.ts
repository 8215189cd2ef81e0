/*
 * Helm values of Cilium that mean nothing here: they describe Cilium's images, its deployment on Kubernetes or
 * parts that Fimbria does not consist of. They are warned about and otherwise let through, so that a values file
 * written for Cilium can be used as it is. Each path covers what lies below it.
 */
export const meaninglessPaths: ReadonlySet<string> = new Set(
  `
  affinity agent aksbyocni alibabacloud annotateK8sNode annotations apiRateLimit azure bpf.authMapMax bpf.autoMount
  bpf.ctAccounting bpf.datapathMode bpf.disableExternalIPMitigation bpf.distributedLRU
  bpf.enableTCX bpf.events bpf.lbAlgorithmAnnotation bpf.lbExternalClusterIP bpf.lbModeAnnotation
  bpf.lbSourceRangeAllTypes bpf.mapDynamicSizeRatio bpf.monitorAggregation bpf.monitorFlags bpf.monitorInterval
  bpf.neighMax bpf.nodeMapMax bpf.policyMapMax bpf.policyStatsMapMax bpf.preallocateMaps bpf.root
  bpf.tproxy bpf.vlanBypass bpfClockProbe bgpControlPlane authentication bandwidthManager certgen cgroup
  ciliumEndpointSlice cleanBpfState cleanState clustermesh cni commonLabels conntrackGCInterval
  conntrackGCMaxInterval crdWaitTimeout customCalls daemon dashboards datapathMode debug
  disableEndpointCRD dnsPolicy dnsProxy egressGateway egressMasqueradeInterfaces
  enableCriticalPriorityClass enableInternalTrafficPolicy enableK8sEndpointSlice
  enableMasqueradeRouteSource enableNonDefaultDenyPolicies enableNoServiceEndpointsRoutable
  enableRuntimeDeviceDetection enableXTSocketFallback encryption endpointHealthChecking endpointLockdownOnMapOverflow
  endpointRoutes eni envoy envoyConfig etcd externalIPs externalWorkloads extraArgs extraContainers extraEnv
  extraHostPathMounts extraInitContainers extraVolumeMounts extraVolumes forceDeviceDetection gatewayAPI gke
  healthCheckICMPFailureThreshold healthChecking healthPort highScaleIPcache hostFirewall hostPort hubble
  identityAllocationMode identityChangeGracePeriod identityManagementMode image imagePullSecrets ingressController
  initResources installNoConntrackIptablesRules ipMasqAgent
  ipam.installUplinkRoutesForDelegatedIPAM ipam.operator.clusterPoolIPv6MaskSize
  ipam.operator.externalAPILimitBurstSize ipam.operator.externalAPILimitQPS iptablesRandomFully ipv4 ipv6
  ipv6NativeRoutingCIDR k8s k8sClientExponentialBackoff k8sClientRateLimit k8sNetworkPolicy k8sServiceHost
  k8sServiceHostRef k8sServiceLookupConfigMapName k8sServiceLookupNamespace k8sServicePort keepDeprecatedLabels
  keepDeprecatedProbes kubeConfigPath kubeProxyReplacementHealthzBindAddr l2NeighDiscovery l2announcements
  l2podAnnouncements livenessProbe loadBalancer logSystemLoad maglev monitor name namespaceOverride nat
  nat46x64Gateway nodeIPAM nodePort nodeSelector nodeSelectorLabels nodeinit operator pmtuDiscovery podAnnotations
  podLabels podSecurityContext policyCIDRMatchMode pprof preflight priorityClassName prometheus proxy rbac
  readinessProbe resourceQuotas resources rollOutCiliumPods scheduling sctp secretsNamespaceAnnotations
  securityContext serviceAccounts serviceNoBackendResponse sleepAfterInit socketLB startupProbe
  svcSourceRangeCheck synchronizeK8sNodes sysctlfix terminationGracePeriodSeconds tls tolerations tproxy tunnel
  underlayProtocol updateStrategy upgradeCompatibility vtep waitForKubeProxy wellKnownIdentities
  `
    .split(/\s+/)
    .filter(path => path !== ''),
);
