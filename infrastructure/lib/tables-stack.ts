import type { App } from "aws-cdk-lib";
import {
  AttributeType,
  BillingMode,
  type GlobalSecondaryIndexProps,
  ProjectionType,
  Table,
  type TableOptions,
} from "aws-cdk-lib/aws-dynamodb";
import type { Stage } from "./stage.ts";
import { StageStack } from "./stage-stack.ts";

/** Tables by name. A table can have one index. */
export type Tables = Record<string, TableOptions & { index?: GlobalSecondaryIndexProps }>;

/** A key attribute that is a string. */
export const string = (name: string) => ({ name, type: AttributeType.STRING });
/** A key attribute that is a number. */
export const number = (name: string) => ({ name, type: AttributeType.NUMBER });

/** Tables of a stage, with exports of their names and ARNs. */
export class TablesStack extends StageStack {
  constructor(app: App, unit: string, stage: Stage, tables: Tables) {
    super(app, unit, stage);

    for (const [name, { index, ...own }] of Object.entries(tables)) {
      const table = new Table(this, name, {
        ...own,
        tableName: this.nameOf(name),
        billingMode: BillingMode.PAY_PER_REQUEST,
        deletionProtection: stage.protected,
        pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: stage.protected },
        removalPolicy: this.removalPolicy,
      });
      this.exportOutput(`${name}TableName`, table.tableName);
      this.exportOutput(`${name}TableArn`, table.tableArn);
      if (table.tableStreamArn) this.exportOutput(`${name}TableStreamArn`, table.tableStreamArn);
      if (index) table.addGlobalSecondaryIndex({ ...index, projectionType: ProjectionType.ALL });
    }
  }
}
