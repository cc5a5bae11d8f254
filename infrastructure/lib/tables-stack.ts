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

/** The definition of a table. It can have one index. A key attribute without a type is a string. */
type Definition = Omit<TableOptions, "partitionKey" | "sortKey"> & {
  partitionKey: string;
  sortKey?: string;
  index?: GlobalSecondaryIndexProps;
};

/** Tables by name. */
export type Tables = Record<string, Definition>;

const string = (name: string) => ({ name, type: AttributeType.STRING });

/** Tables of a stage, with exports of their names and ARNs. */
export class TablesStack extends StageStack {
  constructor(app: App, unit: string, stage: Stage, tables: Tables) {
    super(app, unit, stage);

    for (const [name, { index, partitionKey, sortKey, ...own }] of Object.entries(tables)) {
      const table = new Table(this, name, {
        ...own,
        partitionKey: string(partitionKey),
        ...(sortKey === undefined ? {} : { sortKey: string(sortKey) }),
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
