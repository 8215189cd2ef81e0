export function helmTemplateProgram(): string;
