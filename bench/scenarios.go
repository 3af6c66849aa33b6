package main

// allScenarios returns them in the order in which they are measured: what disturbs the nodes comes after what does not, and
// what makes their memory grow comes last.
func allScenarios() []scenario {
	return []scenario{
		memoryUse{},
		idleCost{},
		lookups{},
		quorumLookups{},
		byConnections{},
		latency{},
		bulkVerify{},
		puts{},
		lonePuts{},
		mixed{},
		bySize{},
		creates{},
		failover{name: "failover", how: lossKill},
		restart{},
		massExpiry{},
		snapshotUnderLoad{},
		levels{},
		failover{name: "stop", how: lossStop},
		failover{name: "freeze", how: lossFreeze},
		flood{},
		elections{},
	}
}
