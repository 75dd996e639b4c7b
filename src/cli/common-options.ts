/** Options that every command takes (program.ts). */
export interface CommonOptions {
  readonly config?: string;
  readonly runDir?: string;
  readonly json?: boolean;
}
