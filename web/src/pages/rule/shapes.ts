// What the test bench asks and answers.

import type { Schemas } from "../../api/client";

export type TestRequest = Partial<Schemas["Test"]>;
export type TestResult = Schemas["TestResult"];
/** A number of events with how exact it is. */
export type Figure = Schemas["Figure"];
export type Findings = Schemas["Findings"];
export type Taken = Schemas["Taken"];
export type Example = Schemas["Example"];
export type LineResult = Schemas["LineResult"];
export type LineVerdict = Schemas["LineVerdict"];
