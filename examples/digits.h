/* Handwriting without a download: digits drawn as strokes under a random pen, slant, size and place. */
#ifndef DIGITS_H
#define DIGITS_H

/* Fills n images of 28 x 28 values 0..255 (row-major, ink is bright, as in MNIST) and their labels 0..9.
 * The same seed draws the same digits. */
void draw_digits(int n, unsigned seed, float *images, int *labels);

#endif
