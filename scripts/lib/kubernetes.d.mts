export function kubernetesCache(): string;
export function kubernetesFolder(): string;
export function kubernetesBuilt(): boolean;
