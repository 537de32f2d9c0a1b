// Asks the embedded engine with ClickHouse's driver for Go, and prints what it read as lines of JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func say(value any) {
	line, err := json.Marshal(value)
	check(err)
	fmt.Println(string(line))
}

func main() {
	compressed := ""
	if len(os.Args) > 2 {
		compressed = "&compress=" + os.Args[2]
	}
	options, err := clickhouse.ParseDSN(os.Args[1] + "?database=onefold&dial_timeout=10s" + compressed)
	check(err)
	connection, err := clickhouse.Open(options)
	check(err)
	ctx := context.Background()
	check(connection.Exec(ctx, "CREATE OR REPLACE TABLE go (id UInt64, name String, at DateTime64(3), tags Array(String), "+
		"counters Map(String, UInt64), city LowCardinality(String)) ENGINE = MergeTree ORDER BY id"))
	batch, err := connection.PrepareBatch(ctx, "INSERT INTO go (id, name, at, tags, counters, city)")
	check(err)
	at := time.Date(2026, 11, 29, 7, 0, 0, 0, time.UTC)
	check(batch.Append(uint64(1), "Lê Văn Đạt", at, []string{"vip", "mới"}, map[string]uint64{"orders": 2}, "Huế"))
	check(batch.Append(uint64(2), "Nguyễn Thị Lan", at, []string{}, map[string]uint64{}, "Đà Nẵng"))
	check(batch.Send())

	rows, err := connection.Query(ctx, "SELECT id, name, at, tags, counters, city FROM go WHERE id >= $1 ORDER BY id", 1)
	check(err)
	for rows.Next() {
		var (
			id         uint64
			name, city string
			when       time.Time
			tags       []string
			counters   map[string]uint64
		)
		check(rows.Scan(&id, &name, &when, &tags, &counters, &city))
		say([]any{id, name, when.UTC().Format(time.RFC3339), tags, counters, city})
	}
	check(rows.Err())

	var local time.Time
	check(connection.QueryRow(ctx, "SELECT toDateTime('2026-11-29 07:00:00', 'Asia/Ho_Chi_Minh')").Scan(&local))
	say(local.Format(time.RFC3339))

	var count, sum uint64
	rows, err = connection.Query(ctx, "SELECT number, toString(number) FROM numbers(500000)")
	check(err)
	for rows.Next() {
		var number uint64
		var text string
		check(rows.Scan(&number, &text))
		count, sum = count+1, sum+number
	}
	check(rows.Err())
	say([]uint64{count, sum})

	say(strings.Contains(connection.QueryRow(ctx, "SELECT * FROM nope").Scan().Error(), "code: 60"))

	// a query that is cancelled by its own id, from another connection
	done := make(chan error)
	go func() {
		var slept uint64
		named := clickhouse.Context(ctx, clickhouse.WithQueryID("go-slow"))
		done <- connection.QueryRow(named, "SELECT sum(sleepEachRow(0.05)) FROM numbers(2000) SETTINGS max_block_size = 1").Scan(&slept)
	}()
	for {
		select {
		case err := <-done:
			check(fmt.Errorf("the slow query ended by itself: %w", err))
		default:
		}
		var running uint64
		check(connection.QueryRow(ctx, "SELECT count() FROM system.processes WHERE query_id = 'go-slow'").Scan(&running))
		if running > 0 {
			break
		}
	}
	check(connection.Exec(ctx, "KILL QUERY WHERE query_id = 'go-slow'"))
	say(<-done != nil)
}
