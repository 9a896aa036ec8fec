package page

// Table is rows of facts. On a phone each row becomes a card, with the column's name before
// each value.
type Table struct {
	Caption string
	Columns []Column
	Rows    []Row
}

// Column is a heading; End aligns amounts to the end of the line.
type Column struct {
	Label string
	End   bool
}

// Row is as long as Columns; the first cell names the row.
type Row []Part

func (Table) part() string { return "table" }

// Cell is a cell with its column, for the template.
type Cell struct {
	Column
	Value Part
}

// Cells pairs a row's values with the columns, without the first. A row that is too short
// shows what it has.
func (t Table) Cells(r Row) []Cell {
	var cells []Cell
	for i, v := range r {
		if i > 0 && i < len(t.Columns) {
			cells = append(cells, Cell{t.Columns[i], v})
		}
	}
	return cells
}
