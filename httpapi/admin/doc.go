// Package admin owns the calls of administrators: users, roles, realms and the cluster's limits, its members and their
// votes, backups, and how much a node logs. It checks the role of each caller; what a change means is the machine's to say.
package admin
