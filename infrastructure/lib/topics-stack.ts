import type { App } from "aws-cdk-lib";
import { AccountRootPrincipal, PolicyStatement } from "aws-cdk-lib/aws-iam";
import { Topic, TopicPolicy } from "aws-cdk-lib/aws-sns";
import type { Stage } from "./stage.ts";
import { StageStack } from "./stage-stack.ts";

/**
 * The SNS topics through which the services of a stage exchange events. They are in a stack of their own, because the publisher,
 * billing-api, imports the API of a subscriber, notes-api. SNS encrypts data at rest by default.
 */
export class TopicsStack extends StageStack {
  constructor(app: App, stage: Stage) {
    super(app, "topics", stage);

    // The revisions of purchases: paid, refunded, disputed.
    const topic = new Topic(this, "Purchases", { topicName: this.nameOf("Purchases") });
    // The policies of the roles decide who may publish. The default policy of a topic differs between AWS and the local
    // cloud.
    new TopicPolicy(this, "PurchasesPolicy", { topics: [topic] }).document.addStatements(
      new PolicyStatement({
        principals: [new AccountRootPrincipal()],
        actions: ["sns:Publish"],
        resources: [topic.topicArn],
      }),
    );
    this.exportOutput("PurchasesTopicArn", topic.topicArn);
  }
}
