import type { App } from "aws-cdk-lib";
import { PolicyStatement, ServicePrincipal } from "aws-cdk-lib/aws-iam";
import { Topic, TopicPolicy } from "aws-cdk-lib/aws-sns";
import { EmailSubscription } from "aws-cdk-lib/aws-sns-subscriptions";
import type { Stage } from "./stage.ts";
import { StageStack } from "./stage-stack.ts";

/** The topic of the stage's alarms. The subscriber first confirms the subscription in an e-mail from SNS. */
export class AlarmsStack extends StageStack {
  constructor(app: App, stage: Stage) {
    super(app, "alarms", stage);

    const topic = new Topic(this, "Alarms", { topicName: this.nameOf("alarms") });
    new TopicPolicy(this, "AlarmsPolicy", { topics: [topic] }).document.addStatements(
      new PolicyStatement({
        principals: [new ServicePrincipal("cloudwatch.amazonaws.com")],
        actions: ["sns:Publish"],
        resources: [topic.topicArn],
        conditions: {
          StringEquals: { "aws:SourceAccount": this.account },
          ArnLike: {
            "aws:SourceArn": this.formatArn({ service: "cloudwatch", resource: `alarm:${this.nameOf("*")}` }),
          },
        },
      }),
    );
    if (stage.alarms) topic.addSubscription(new EmailSubscription(stage.alarms));
    this.exportOutput("AlarmsTopicArn", topic.topicArn);
  }
}
